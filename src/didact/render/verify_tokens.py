"""Whether a folder of token shards is what its manifest says, to the byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from didact.canonical import content_hash
from didact.durable import ASIDE, read_json, sha256_file
from didact.errors import StoreError
from didact.render.layouts import LAYOUT
from didact.render.token_shards import LOCK, TOKENS, TOKENS_LAYOUT, tokens_checksum


def is_token_folder(folder: Path) -> bool:
    """Whether a folder holds token shards, of this layout."""
    if not (folder / TOKENS).is_file():
        return False
    found = read_json(folder / TOKENS)
    return isinstance(found, dict) and found.get("layout") == TOKENS_LAYOUT


def verify_tokens(folder: Path) -> list[str]:
    """Every disagreement between manifest and disk, as a sentence; none means the shards are whole.

    Raises StoreError when the manifest cannot be read, or there is none: the shards were not finished.
    """
    manifest = read_json(folder / TOKENS)
    problems = _checksum_problems(TOKENS, manifest)
    listed: dict[str, Mapping[str, Any]] = {}
    known = {TOKENS, LOCK}
    for mix, splits in manifest["mixes"].items():
        for split, told in splits.items():
            listed |= {f"{mix}/{split}/{file['path']}": file for file in told["files"]}
            problems += _split_problems(folder, f"{mix}/{split}/split.json", told)
    known = {
        TOKENS,
        LOCK,
        *(f"{mix}/{split}/split.json" for mix, splits in manifest["mixes"].items() for split in splits),
    }
    for layout in sorted((folder / "layouts").glob(f"*/{LAYOUT}")):
        place, told = layout.parent.relative_to(folder).as_posix(), read_json(layout)
        problems += _checksum_problems(f"{place}/{LAYOUT}", told)
        listed |= {f"{place}/{file['path']}": file for file in told["files"]}
        known.add(f"{place}/{LAYOUT}")
    return problems + list(_file_problems(folder, listed, known))


def require_whole_tokens(folder: Path) -> None:
    """Raise StoreError when token shards are not what was written, before anyone trains on them."""
    problems = verify_tokens(folder)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise StoreError(f"{folder}: {problems[0]}{more}; delete the folder and run again, it is made from the version")


def _checksum_problems(name: str, content: Mapping[str, Any]) -> list[str]:
    return [] if content.get("checksum") == tokens_checksum(content) else [f"{name}: differs from its checksum"]


def _split_problems(folder: Path, name: str, told: Mapping[str, Any]) -> list[str]:
    path = folder / name
    if not path.is_file():
        return [f"{name}: missing"]
    try:
        same = content_hash(read_json(path)) == content_hash(told)
    except StoreError:
        same = False
    return [] if same else [f"{name}: differs from {TOKENS}"]


def _file_problems(folder: Path, listed: Mapping[str, Mapping[str, Any]], known: set[str]) -> Iterator[str]:
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(listed.keys() - there.keys()):
        yield f"{name}: missing"
    for name in sorted(there.keys() - listed.keys() - known):
        if not any(part.startswith(ASIDE) for part in name.split("/")):
            yield f"{name}: not in the manifest"
    for name in sorted(listed.keys() & there.keys()):
        size, digest = listed[name]["bytes"], listed[name]["sha256"]
        if there[name].stat().st_size != size or sha256_file(there[name]) != digest:
            yield f"{name}: content differs from its SHA-256"
