"""Endings of file names. What a file is made of is told by its content; they decide what that leaves open."""

from __future__ import annotations

from pathlib import Path

COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
"""Endings that a compressed file's name may carry after its own."""
LINES = (".jsonl", ".ndjson", ".jsonlines")
JSON = (".json", *LINES)
TABS = (".tsv", ".tab")
CELLS = (".csv", *TABS)
PAGES = (".html", ".htm", ".xhtml")
ROWS = (*JSON, *CELLS, ".parquet", ".arrow")
"""Of files whose rows have fields."""


def bare_suffix(path: Path) -> str:
    """A file name's ending without that of its compression, in lower case: `.json` of `a.JSON.gz`."""
    name = path.name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return Path(name).suffix
