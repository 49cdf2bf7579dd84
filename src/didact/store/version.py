"""A version: read its manifest, its mixes as tables, and check that disk and manifest agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from didact.canonical import content_hash
from didact.durable import write_json
from didact.errors import CorruptVersion, StoreError, UnknownName
from didact.remote.folder import Folder
from didact.remote.prefix import is_url
from didact.store.layout import MANIFEST, Store
from didact.store.manifest import FileEntry, Manifest, checksum

if TYPE_CHECKING:
    import pandas as pd
    from datasets import DatasetDict

    from didact.store.diff import Diff
    from didact.store.explain import Life
    from didact.store.export import Exported


@dataclass(frozen=True, slots=True)
class Version:
    """An immutable result of a build.

    >>> version = Version.open("store/data/demo/0123456789ab")  # doctest: +SKIP
    >>> version.table("finetune").num_rows  # doctest: +SKIP
    """

    folder: Folder
    manifest: Manifest

    def __repr__(self) -> str:
        # What a console and a notebook show: a manifest of many sources is pages long.
        return f"Version({self.manifest.name}@{self.manifest.version} in {self.folder})"

    @property
    def path(self) -> Path:
        """The version's folder on this disk; of a version in an object store, the copy of what was needed of it so far
        (`fetch` brings the rest).
        """
        return self.folder.path

    @classmethod
    def open(cls, place: str | Path | Folder, storage_options: Mapping[str, Any] | None = None) -> Version:
        """Read the manifest of the version at a path or a URL; storage_options: what fsspec takes for the URL.

        Raises StoreError when there is none, CorruptVersion when it is not one.
        """
        if isinstance(place, str) and is_url(place):
            store, _, _ = place.rpartition("/data/")
            place = Store.at(store or place, options=storage_options).find(place)
        folder = place if isinstance(place, Folder) else Folder(Path(place))
        content = folder.read_json(MANIFEST)
        if content is None:
            raise StoreError(f"{folder}/{MANIFEST}: is not there; the result it belongs to is incomplete")
        try:
            return cls(folder, Manifest.model_validate(content))
        except ValidationError as error:
            raise CorruptVersion(
                f"{folder}/{MANIFEST}: not a manifest of this layout ({error.error_count()} problems)"
            ) from error

    def file(self, name: str) -> Path:
        """A file of the version on this disk; from an object store it is fetched and compared with its SHA-256.

        Raises CorruptVersion when the manifest does not list it.
        """
        if self.folder.prefix is None:
            return self.path / name
        entry = next((file for file in self.manifest.files if file.path == name), None)
        if entry is None:
            raise CorruptVersion(f"{self.folder}/{name}: is not in the manifest")
        return self.folder.file(name, entry.bytes, entry.sha256)

    def has(self, name: str) -> bool:
        """Whether the version has a file of that name."""
        return any(file.path == name for file in self.manifest.files)

    def fetch(self, part: str | None = None) -> Path:
        """The version's folder on this disk with all its files, or one folder in it; from an object store they are
        fetched first.
        """
        if self.folder.prefix is not None:
            for file in self.manifest.files:
                if part is None or file.path.startswith(f"{part}/"):
                    self.file(file.path)
            if part is None:
                write_json(self.path / MANIFEST, self.manifest.model_dump(by_alias=True))
        return self.path if part is None else self.path / part

    def shards(self, mix: str, split: str = "train") -> list[Path]:
        """Files of one split of a mix, in training order. Raises UnknownName for a mix the version lacks."""
        if mix not in self.manifest.mixes:
            raise UnknownName("mix", mix, self.manifest.mixes, where=str(self.folder))
        prefix = f"data/{mix}/{split}-"
        return [self.file(file.path) for file in self.manifest.files if file.path.startswith(prefix)]

    def table(self, mix: str, split: str = "train") -> pa.Table:
        """All rows of one split of a mix, in training order."""
        shards = self.shards(mix, split)
        if not shards:
            raise UnknownName(
                "split",
                split,
                [s for s, n in self.manifest.mixes[mix].rows.items() if n],
                where=f"{self.folder}: {mix}",
            )
        return pa.concat_tables([pq.read_table(shard, partitioning=None) for shard in shards])

    def to_pandas(self, mix: str, split: str = "train") -> pd.DataFrame:
        """The same rows as a data frame."""
        frame: pd.DataFrame = self.table(mix, split).to_pandas()
        return frame

    def to_datasets(self, mix: str) -> DatasetDict:
        """The mix as a Hugging Face `DatasetDict`."""
        from datasets import Dataset, DatasetDict

        splits = [split for split, rows in self.manifest.mixes[mix].rows.items() if rows]
        return DatasetDict({split: Dataset(self.table(mix, split)) for split in splits})

    def verify(self) -> list[str]:
        """Every disagreement between manifest and disk, as a sentence; none means the version is whole.

        Raises StoreError when the manifest itself cannot be read any more.
        """
        listed = {file.path: file for file in self.manifest.files}
        there = self.folder.files()
        there.pop(MANIFEST, None)
        problems = [] if self._manifest_is_whole() else [f"{MANIFEST}: content differs from its checksum"]
        problems += [f"{path}: missing" for path in sorted(listed.keys() - there.keys())]
        problems += [f"{path}: not in the manifest" for path in sorted(there.keys() - listed.keys())]
        told = (self._problem(listed[path], there[path]) for path in sorted(listed.keys() & there.keys()))
        return problems + [problem for problem in told if problem is not None]

    def _problem(self, entry: FileEntry, size: int) -> str | None:
        """What is wrong with a file that is there."""
        try:
            if size == entry.bytes and self.folder.sha256(entry.path) == entry.sha256:
                return None
        except OSError as error:
            return f"{entry.path}: cannot be read ({error.strerror or error})"
        return f"{entry.path}: content differs from its SHA-256"

    def _manifest_is_whole(self) -> bool:
        content = self.folder.read_json(MANIFEST)
        named = content_hash([content.get("plan"), content.get("digest")])[:12]
        return bool(content.get("checksum") == checksum(content) and content.get("version") == named)

    def diff(self, other: Version, limit: int | None = None) -> Diff:
        """What came, went and changed from this version to another one, and why; `limit` bounds what is listed."""
        from didact.store.diff import diff

        return diff(self, other, limit)

    def explain(self, written: str) -> list[Life]:
        """The whole life of the rows that have an id (or how it begins), or that stand at PATH:LINE or PATH#INDEX."""
        from didact.store.explain import explain

        return explain(self, written)

    def export(
        self, folder: str | Path, to: str, mixes: Sequence[str] | None = None, allow_loss: bool = False
    ) -> Exported:
        """Write mixes for others into a new or empty folder, as `hf`, `jsonl`, `messages` or a third-party format."""
        from didact.store.export import export

        return export(self, folder, to, mixes, allow_loss)

    def header(self, header_id: str | None) -> dict[str, Any] | None:
        """The header a record refers to, as its JSON object."""
        import orjson

        if header_id is None:
            return None
        table = pq.read_table(self.file("headers/headers.parquet"), filters=[("id", "=", header_id)])
        return orjson.loads(table["header"][0].as_py()) if table.num_rows else None
