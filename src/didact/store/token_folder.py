"""Token shards in their place in a store: made on this disk or found in the store, always mapped from this disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from didact.durable import aside_name, write_json
from didact.remote.folder import Folder
from didact.render.layouts import LAYOUT
from didact.render.token_shards import TOKENS, shards_key, tokenize_version
from didact.render.tokenizer import Tokenizer
from didact.render.verify_tokens import is_token_folder, verify_tokens
from didact.store.layout import Store
from didact.store.version import Version


def tokenized(store: Store, version: Version, tokenizer: Tokenizer, workers: int = 1) -> Path:
    """The folder on this disk with a version's token shards under a tokenizer, which are made unless they are there.

    workers: threads; they shape no byte. In an object store the shards are looked for there, and put there when they
    were made here, their manifest last. Raises CorruptVersion when the version is not complete.
    """
    folder = store.tokens(version.manifest.version, tokenizer.digest)
    whole = version.fetch()
    if folder.prefix is not None:
        there = folder.read_json(TOKENS)
        if there is not None and there["key"] == shards_key(whole, tokenizer):
            return _fetched(folder, there)
    made = tokenize_version(whole, tokenizer, folder.path, workers)
    folder.send(_names(made))
    return folder.path


def keep_layout(folder: Folder, laid: Path | None) -> None:
    """Put a layout of token shards, which was written into their folder on this disk, where the store is."""
    if folder.prefix is not None and laid is not None:
        files = sorted(path for path in laid.rglob("*") if path.is_file())
        folder.send(str(path.relative_to(folder.path)) for path in sorted(files, key=lambda path: path.name == LAYOUT))


def token_problems(store: Store, version: str) -> dict[str, list[str]]:
    """What is wrong with each folder of a version's token shards in the store, as `verify_tokens` tells it."""
    return {
        str(folder): problems for folder in store.token_folders(version) if (problems := _problems(folder)) is not None
    }


def _problems(folder: Folder) -> list[str] | None:
    """None for a folder that was not finished."""
    if folder.prefix is None:
        return verify_tokens(folder.path) if is_token_folder(folder.path) else None
    # Not the working copy: what the store holds is asked for.
    aside = Folder(aside_name(folder.path), folder.prefix)
    try:
        return verify_tokens(aside.whole()) if folder.has(TOKENS) else None
    finally:
        aside.forget()


def _names(manifest: dict[str, Any]) -> list[str]:
    """Every file of token shards, what declares others whole after them."""
    splits = [(f"{mix}/{split}", one) for mix, own in manifest["mixes"].items() for split, one in own.items()]
    files = [f"{folder}/{file['path']}" for folder, one in splits for file in one["files"]]
    return [*files, *(f"{folder}/split.json" for folder, _ in splits), TOKENS]


def _fetched(folder: Folder, manifest: dict[str, Any]) -> Path:
    for mix, own in manifest["mixes"].items():
        for split, one in own.items():
            for file in one["files"]:
                folder.file(f"{mix}/{split}/{file['path']}", file["bytes"], file["sha256"])
            write_json(folder.path / mix / split / "split.json", one)
    write_json(folder.path / TOKENS, manifest)
    return folder.path
