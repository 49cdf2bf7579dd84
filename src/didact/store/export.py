"""Export: the mixes of a version as files for others, in training order, whole or not at all.

`hf` is a Hugging Face dataset folder, `jsonl` Didact's own records, `messages` OpenAI's chat and preference lines; any
other name is a third-party format that an adapter writes.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from didact.durable import atomic_dir, sha256_file, write_atomic, write_json
from didact.errors import CallError, CorruptVersion, UnknownName
from didact.formats.registry import adapters
from didact.records import Header
from didact.store.card import card
from didact.store.foreign import Foreign, write_file
from didact.store.manifest import FileEntry
from didact.store.version import Version

EXPORT = "export.json"
"""The export's own manifest: where it came from, rows of each split, and the SHA-256 of every file."""

_OWN = {
    "hf": "a Hugging Face dataset folder: Parquet, one config per mix, and a card",
    "jsonl": "Didact's own records, one JSON object a line, valid under `didact schema KIND`",
    "messages": "OpenAI chat lines {messages, tools}; preferences as {input, preferred_output, non_preferred_output}",
}
_BATCH = 4096
_HEADERS = "headers/headers.parquet"


@dataclass
class Exported:
    """What an export wrote."""

    path: Path
    format: str
    version: str
    mixes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Rows of each split of each mix."""
    files: list[FileEntry] = field(default_factory=list)
    left_out: int = 0
    """Rows that the format has no place for."""
    lost: Counter[str] = field(default_factory=Counter)
    """Rows by what of them the format does not hold: JSON pointer, with N for numbers, and why."""
    licenses: dict[str, str | None] = field(default_factory=dict)
    """The recipe's licence of each source; rows of third-party formats do not repeat it."""

    def as_json(self) -> dict[str, Any]:
        """The content of `export.json`."""
        return {
            "layout": "didact/export/1",
            "format": self.format,
            "version": self.version,
            "mixes": self.mixes,
            "licenses": self.licenses,
            "left_out": self.left_out,
            "lost": dict(sorted(self.lost.items())),
            "files": [file.model_dump() for file in self.files],
        }


def export_formats() -> dict[str, str]:
    """What `--to` takes, with one line on each."""
    written = {name: one.description for name, one in adapters().items() if one.write is not None}
    return _OWN | dict(sorted(written.items()))


def export(
    version: Version, folder: str | Path, to: str, mixes: Sequence[str] | None = None, allow_loss: bool = False
) -> Exported:
    """Write mixes of a version (none named: all that the format suits) into a folder that is new or empty.

    Rows keep the order of training, repeats included; formats of one object a file group them by file. Raises
    UnknownName for a format or mix that is not there, CallError for a folder that holds something or a mix that the
    format does not suit, DataError when a third-party format would lose something of a record and `allow_loss` is not
    given, CorruptVersion when a shard is damaged.
    """
    if to not in export_formats():
        raise UnknownName("export format", to, export_formats())
    path = _new_folder(version, Path(folder))
    chosen = _chosen(version, to, mixes)
    name = f"{version.manifest.name}@{version.manifest.version}"
    done = Exported(path, to, name)
    done.licenses = {
        source: version.manifest.sources[source].license
        for mix in chosen
        for source in version.manifest.mixes[mix].sources
    }
    with atomic_dir(path) as aside:
        if to == "hf":
            _write_dataset(version, aside, chosen, done)
        else:
            foreign = Foreign(adapters()[to], _headers(version), done.licenses, allow_loss) if to not in _OWN else None
            _write_splits(version, aside, chosen, done, foreign)
            done.lost = foreign.lost if foreign is not None else done.lost
        done.files.sort(key=lambda file: file.path)
        write_json(aside / EXPORT, done.as_json())
    return done


def _new_folder(version: Version, folder: Path) -> Path:
    path = folder.resolve()
    if path.is_relative_to(version.path.resolve()):
        raise CallError(f"{folder}: lies inside the version, which nothing is written into; choose another folder")
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise CallError(f"{folder}: exists and is not an empty folder; choose another one")
    return path


def _chosen(version: Version, to: str, mixes: Sequence[str] | None) -> list[str]:
    """The mixes to write."""
    there = version.manifest.mixes
    for name in mixes or ():
        if name not in there:
            raise UnknownName("mix", name, there, where=str(version.folder))
    suited = [name for name in sorted(there) if to != "messages" or there[name].purpose != "pretrain"]
    unsuited = sorted(set(mixes or ()) - set(suited))
    if unsuited:
        raise CallError(f"mix '{unsuited[0]}' is for pre-training and holds no messages; export it as hf or jsonl")
    chosen = sorted(set(mixes)) if mixes else suited
    if not chosen:
        raise CallError(f"{version.folder}: no mix holds messages; export it as hf or jsonl")
    return chosen


def _sound(version: Version, name: str) -> Path:
    """A file of the version, after its hash was compared. Raises CorruptVersion when it is damaged."""
    path = version.file(name)
    entry = next(file for file in version.manifest.files if file.path == name)
    if not path.is_file() or sha256_file(path) != entry.sha256:
        raise CorruptVersion(f"{path}: missing, or not what the manifest says; `didact verify` tells more")
    return path


def _write_dataset(version: Version, folder: Path, mixes: Sequence[str], done: Exported) -> None:
    """Shards as they are, and the card of the mixes."""
    for mix in mixes:
        done.mixes[mix] = {split: rows for split, rows in version.manifest.mixes[mix].rows.items() if rows}
        for entry in version.manifest.files:
            if entry.path.startswith(f"data/{mix}/"):
                target = folder / entry.path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(_sound(version, entry.path), target)
                done.files.append(entry)
    readme = card(version.manifest, mixes, EXPORT).encode()
    write_atomic(folder / "README.md", readme)
    done.files.append(FileEntry(path="README.md", sha256=hashlib.sha256(readme).hexdigest(), bytes=len(readme), rows=0))


def _write_splits(
    version: Version, folder: Path, mixes: Sequence[str], done: Exported, foreign: Foreign | None
) -> None:
    """Files of every split of a mix, and the headers that Didact's own records refer to."""
    for mix in mixes:
        done.mixes[mix] = {}
        for split, count in sorted(version.manifest.mixes[mix].rows.items()):
            if not count:
                continue
            rows = _rows(version, mix, split)
            if foreign is not None:
                entries = foreign.write(folder, f"{mix}/{split}", rows)
            else:
                entries = [_write_lines(folder, f"{mix}/{split}.jsonl", map(_LINES[done.format], rows))]
            done.files += entries
            done.mixes[mix][split] = sum(entry.rows for entry in entries)
            done.left_out += count - done.mixes[mix][split]
    if done.format == "jsonl" and version.has(_HEADERS):
        texts = pq.read_table(_sound(version, _HEADERS))["header"].to_pylist()
        done.files.append(_write_lines(folder, "headers.jsonl", map(orjson.loads, texts)))


def _rows(version: Version, mix: str, split: str) -> Iterator[dict[str, Any]]:
    for shard in version.shards(mix, split):
        with pq.ParquetFile(_sound(version, str(shard.relative_to(version.path)))) as file:
            for batch in file.iter_batches(_BATCH):
                yield from batch.to_pylist()


def _write_lines(folder: Path, name: str, values: Iterable[Any]) -> FileEntry:
    return write_file(folder, name, (orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE) for value in values))


def _own(row: dict[str, Any]) -> Any:
    return orjson.loads(row["record"])


def _openai(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a finetune or preference mix as OpenAI's fine-tuning takes it."""
    if "messages" in row:
        tools = {"tools": orjson.loads(row["tools"])} if row["tools"] else {}
        return {"messages": [_message(turn) for turn in row["messages"]], **tools}
    tools = orjson.loads(row["record"]).get("tools")
    asked = {"messages": [_message(turn) for turn in row["prompt"]]} | ({"tools": tools} if tools else {})
    sides = {"preferred_output": row["chosen"], "non_preferred_output": row["rejected"]}
    return {"input": asked} | {name: [_message(turn) for turn in turns] for name, turns in sides.items()}


def _message(turn: dict[str, Any]) -> dict[str, Any]:
    """A message without the keys it has no value for; calls as objects, a weight of 0 or 1 as an integer."""
    message = {name: value for name, value in turn.items() if value is not None}
    if "tool_calls" in message:
        message["tool_calls"] = orjson.loads(message["tool_calls"])
    if message.get("weight") in (0.0, 1.0):
        message["weight"] = int(message["weight"])
    return message


def _headers(version: Version) -> dict[str, Header]:
    """What the records' files said once, by id."""
    if not version.has(_HEADERS):
        return {}
    table = pq.read_table(_sound(version, _HEADERS))
    return {row["id"]: Header.model_validate_json(row["header"]) for row in table.to_pylist()}


_LINES: dict[str, Callable[[dict[str, Any]], Any]] = {"jsonl": _own, "messages": _openai}
"""A row of a shard as the value of one line, by format."""
