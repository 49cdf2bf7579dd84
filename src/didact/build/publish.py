"""Publish: the last files of a version, its manifest after all of them, its name, and the ref that points to it."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import pyarrow as pa
import tokenizers

from didact import __version__
from didact.build.assemble import MixedRows
from didact.build.decide import Fates, check
from didact.build.hold_out import HeldOut
from didact.build.inputs import ALGORITHMS, Inputs, data_sections, tables
from didact.build.per_record import Curated
from didact.durable import readable_json, store_errors, sync_folder, write_atomic, write_json
from didact.errors import AccountingError, StoreError
from didact.recipe.load import Recipe
from didact.remote.folder import Folder
from didact.render.tokenizer import Tokenizer
from didact.store.card import card
from didact.store.layout import MANIFEST, Store
from didact.store.manifest import Compression, FileEntry, Manifest, SourceEntry, checksum
from didact.store.version import Version


@dataclass(frozen=True)
class Made:
    """What the stages of a build made, for the manifest."""

    fates: Fates
    held: HeldOut
    mixes: Sequence[MixedRows]
    files: list[FileEntry]
    curated: Curated
    tokenizer: Tokenizer | None
    tokenizer_folder: Folder
    compression: list[Compression]


def publish(
    store: Store, folder: Folder, recipe: Recipe, inputs: Inputs, version: str, digest: str, made: Made
) -> Version:
    """Complete the version's folder, then give it its place in the store and let `latest` name it.

    The manifest is the last file written; on this disk the folder gets its final name after that.
    """
    files = list(made.files)
    _check_accounting(made.fates, made.held)
    if made.tokenizer is not None:
        files += _copied(made.tokenizer_folder.path, folder, "tokenizer")
    manifest = Manifest(
        name=recipe.name,
        version=version,
        digest=digest,
        plan=inputs.plan,
        parent=_parent(store, recipe.name, version),
        sources={
            name: SourceEntry(
                files=inputs.digests[name], format=inputs.formats(name), license=recipe.sources[name].license
            )
            for name in sorted(recipe.sources)
        },
        accounting=made.fates.accounts,
        findings=_findings(made, recipe),
        cleaned=made.curated.cleaned,
        splits=made.held.entries,
        leak_check=made.held.leak_check,
        mixes={mixed.name: mixed.entry for mixed in made.mixes},
        licenses=_licenses(recipe),
        tokenizer=made.tokenizer.digest if made.tokenizer is not None else None,
        compression=made.compression,
        recipe=data_sections(recipe),
        created_by=created_by() | {plugin.path.name: f"sha256:{plugin.sha256}" for plugin in inputs.plugins},
        files=[],
    )
    files.append(_written(folder, "README.md", card(manifest).encode()))
    manifest.files = sorted(files, key=lambda file: file.path)
    _remove_unlisted(folder, {file.path for file in manifest.files})
    manifest.checksum = checksum(manifest.model_dump(by_alias=True))
    write_json(folder.path / MANIFEST, manifest.model_dump(by_alias=True))
    final = store.version(recipe.name, version)
    if folder.prefix is None:
        _placed(folder, final)
    else:
        _declared(folder, final, manifest.files)
    store.set_ref(recipe.name, "latest", version)
    return Version.open(final)


_WRITER = "writer.json"
"""In the work folder of a build below a prefix: the libraries of whoever writes the version's files."""


def claimed(folder: Folder, build: Folder) -> Folder | None:
    """Make sure that nobody writes other bytes into a version's folder below a prefix, where its files stand before it
    is a version. The folder when it is a version already, into which nothing is written; else None.

    On this disk a version is made aside. Raises StoreError when a build with other libraries has begun to write it.
    """
    if folder.prefix is None or build.prefix is None:
        return None
    if folder.has(MANIFEST):
        return folder
    if build.prefix.create(_WRITER, readable_json(created_by())):
        return None
    theirs, ours = build.read_json(_WRITER) or {}, created_by()
    other = [f"{name} {theirs.get(name)} instead of {ours[name]}" for name in ours if theirs.get(name) != ours[name]]
    raise StoreError(
        f"{folder}: a build with other libraries has begun to write this version ({', '.join(other)}); build with the "
        "same, or run `didact gc --unfinished` when that build is given up"
    )


HELD_OUT = "(held out)"
"""What findings name in a source's place when they are about the held-out rows of all sources."""

_DUPLICATES = {"duplicate.exact": "DU001", "duplicate.near": "DU002"}
"""Codes of the reasons for which rows are dropped beside others."""


def _findings(made: Made, recipe: Recipe) -> dict[str, dict[str, int]]:
    """Warnings about kept rows and files, duplicates, leaks, and sources without a licence, by source and code."""
    found = {name: Counter(codes) for name, codes in made.curated.findings.items()}
    for account in made.fates.accounts:
        for reason, code in _DUPLICATES.items():
            if count := account.dropped.get(reason, 0):
                found.setdefault(account.source, Counter())[code] += count
    for name, source in recipe.sources.items():
        if source.license is None:
            found.setdefault(name, Counter())["PV001"] += 1
    for name, mixed in ((name, part) for mix in made.mixes for name, part in mix.entry.sources.items()):
        for code, is_so in (("MX001", mixed.exhausted), ("MX002", not mixed.achieved.records)):
            if is_so:
                found.setdefault(name, Counter())[code] += 1
    leak_check = made.held.leak_check
    if leak_check is not None and (leaked := leak_check.same_prompt + leak_check.near_prompt):
        found[HELD_OUT] = Counter(LK001=leaked)
    return {name: dict(sorted(codes.items())) for name, codes in sorted(found.items())}


def _placed(folder: Folder, version: Folder) -> None:
    """Give a finished folder of this disk its name."""
    final = version.path
    with store_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        if (final / MANIFEST).exists():
            # The same plan and rows were published before, perhaps by a build that ran at the same time.
            shutil.rmtree(folder.path)
        else:
            folder.path.rename(final)
            sync_folder(final.parent)


def _declared(folder: Folder, version: Folder, files: Sequence[FileEntry]) -> None:
    """Make a version of the objects that are all there, by its manifest; another's manifest of the same rows stays."""
    assert version.prefix is not None
    there = version.prefix.files()
    if gone := [file.path for file in files if there.get(file.path) != file.bytes]:
        raise StoreError(
            f"{version}: {gone[0]} is not there any more as it was written ({len(gone)} such files); something else "
            "deletes in the store, or this build stood still so long that gc took it for dead; run it again"
        )
    version.prefix.create(MANIFEST, (folder.path / MANIFEST).read_bytes())
    with store_errors(version.path):
        shutil.rmtree(version.path, ignore_errors=True)
        version.path.parent.mkdir(parents=True, exist_ok=True)
        folder.path.rename(version.path)


def _check_accounting(fates: Fates, held: HeldOut) -> None:
    """Every stage takes in what the one before kept, and the last keeps what is in the shards."""
    kept: dict[str, int] = {}
    for account in fates.accounts:
        check(account)
        if account.rows_in != kept.get(account.source, account.rows_in):
            raise AccountingError(
                f"stage '{account.stage}' took in {account.rows_in} rows of '{account.source}', the stage before kept "
                f"{kept[account.source]}"
            )
        kept[account.source] = account.kept
    if sum(kept.values()) != int(fates.alive.sum()) or (held.split[fates.alive] < 0).any():
        raise AccountingError(
            "the rows that stayed are not the rows that were split; this is a defect of Didact, please report it"
        )


def _copied(source: Path, folder: Folder, name: str) -> list[FileEntry]:
    return [_written(folder, f"{name}/{path.name}", path.read_bytes()) for path in sorted(source.iterdir())]


def _written(folder: Folder, name: str, content: bytes) -> FileEntry:
    """A file of a version whose bytes are at hand."""
    write_atomic(folder.path / name, content)
    folder.send([name])
    return FileEntry(path=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), rows=0)


def _remove_unlisted(folder: Folder, listed: set[str]) -> None:
    """Delete what a killed try of this build left behind."""
    for path in sorted(folder.path.rglob("*")):
        if path.is_file() and str(path.relative_to(folder.path)) not in listed:
            path.unlink()
    if folder.prefix is not None:
        folder.prefix.delete(sorted(folder.prefix.files().keys() - listed - {MANIFEST}))


def _parent(store: Store, name: str, version: str) -> str | None:
    latest = store.ref(name, "latest")
    return latest if latest != version else None


def _licenses(recipe: Recipe) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, source in sorted(recipe.sources.items()):
        found.setdefault(source.license or "unknown", []).append(name)
    return found


def created_by() -> dict[str, str]:
    """Versions of everything that shapes the bytes of a version: algorithms, libraries, tables."""
    return {
        "didact": __version__,
        "numba": numba.__version__,
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
        "tokenizers": tokenizers.__version__,
        "algorithms": ", ".join(f"{name} {number}" for name, number in ALGORITHMS.items()),
        **tables(),
    }
