"""Where things stand in a store, and how NAME, NAME@REF and NAME@HEX find a version."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from didact.canonical import content_hash
from didact.durable import ASIDE, locked, locked_if_free, remove_asides, require_writable
from didact.errors import CallError, UnknownName
from didact.recipe.load import Recipe
from didact.remote.folder import Folder
from didact.remote.prefix import Prefix, is_url
from didact.remote.retries import repeated
from didact.sources.elsewhere import Elsewhere
from didact.store import leases

MANIFEST = "manifest.json"
"""In a version's folder, written last: the version is complete when it is there."""
CHUNKS = "chunks.json"
"""In a build's work folder: keys of the results, of chunks and of stages, that the build reads."""
BUILD = "build.json"
"""In a build's work folder, written last: the version it made, and what its stages cost."""
TRAINED_ON = "version.json"
"""In a run's folder: the version it was trained on, which is kept as long as the run is."""

LEASES = "builds/in-use"
"""In an object store: a lease of everyone who works on it."""
RETRIES = "retries.jsonl"
"""In a working folder: a line for each call to the object store that failed and was made again."""
WORK = ".cache/didact"
"""In the home folder: working folders of stores that are not on this disk, each named by its URL's hash."""

_VERSION = re.compile(r"[0-9a-f]{12}")
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WRITTEN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*?)(@(?P<ref>[A-Za-z0-9._-]+))?$")


@dataclass(frozen=True, slots=True)
class StoreAt:
    """A store as a caller names it. For one that is elsewhere, too: how it is reached, and where work stands meanwhile.

    >>> StoreAt("s3://bucket/didact", {"endpoint_url": "https://s3.example.org"})
    StoreAt(written='s3://bucket/didact', work=None)
    """

    written: str | Path | None = None
    """Path or URL; none: the recipe's."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What fsspec takes for the URL, over what the recipe says in `storage`."""
    work: Path | None = None
    """Folder for the working folders of stores that are elsewhere; none: `.cache/didact` in the home folder."""

    def open(
        self, default: str, base: Path | None = None, storage: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Store:
        """The store; `default`, relative to `base`, when none is named. storage: options by protocol.

        Raises CallError for a URL that cannot be one of a store.
        """
        written = default if self.written is None else self.written
        protocol = str(written).partition("://")[0].lower() if is_url(written) else ""
        options = {**(storage or {}).get(protocol, {}), **self.options}
        return Store.at(written, base if self.written is None else None, options=options, work=self.work)


def store_of(given: str | Path | StoreAt | None, recipe: Recipe, base: Path) -> Store:
    """The store that a caller names, else the recipe's."""
    named = given if isinstance(given, StoreAt) else StoreAt(given)
    return named.open(recipe.store, base, recipe.storage)


def elsewhere(recipe: Recipe, given: str | Path | StoreAt | None) -> Elsewhere:
    """How inputs at URLs are reached: by the recipe's options, and by those that the caller gives for the store where
    both have the same protocol.
    """
    at = given if isinstance(given, StoreAt) else StoreAt(given)
    written = recipe.store if at.written is None else at.written
    storage: dict[str, Mapping[str, Any]] = dict(recipe.storage)
    if at.options and is_url(written):
        protocol = str(written).partition("://")[0].lower()
        storage[protocol] = {**storage.get(protocol, {}), **at.options}
    return Elsewhere(None if at.work is None else at.work / "inputs", storage)


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of all results: on this disk, or below a prefix of an object store."""

    root: Path
    """On this disk: the store itself, or the working folder of one that is elsewhere."""
    prefix: Prefix | None = None

    @classmethod
    def at(
        cls,
        written: str | Path,
        base: Path | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        work: Path | None = None,
    ) -> Store:
        """The store at a path, relative to `base`, or at a URL that fsspec knows.

        options: what fsspec takes for the URL. work: folder for the working folders of stores that are elsewhere;
        `WORK` in the home folder when not given. Raises CallError for a URL that cannot be one of a store.
        """
        if not is_url(written):
            return cls((base or Path()) / written)
        if str(written).startswith("file://"):
            return cls(Path(str(written).removeprefix("file://")))
        url = str(written).rstrip("/")
        root = (work if work is not None else Path.home() / WORK) / content_hash([url])[:12]
        return cls(root, Prefix.at(url, options, root / RETRIES))

    def __str__(self) -> str:
        return str(self.folder())

    def absolute(self) -> Store:
        """The same store where the current folder is another."""
        return replace(self, root=self.root.absolute())

    def folder(self, *parts: str) -> Folder:
        """A folder of the store."""
        path = self.root.joinpath(*parts)
        return Folder(path, self.prefix / "/".join(parts) if self.prefix is not None and parts else self.prefix)

    def data(self, name: str) -> Folder:
        """Folder of a data set's versions and refs."""
        return self.folder("data", name)

    def version(self, name: str, version: str) -> Folder:
        """Folder of one version."""
        return self.folder("data", name, version)

    def build(self, plan: str) -> Folder:
        """Work folder of a build."""
        return self.folder("builds", plan[:12])

    def built(self, name: str, plan: str) -> Folder | None:
        """Folder of the version that a build of this plan made, if it is whole."""
        record = self.build(plan).read_json(BUILD)
        found = None if record is None else self.version(name, record["version"])
        return found if found is not None and found.has(MANIFEST) else None

    @property
    def chunks(self) -> Folder:
        """Results of chunks, shared by all builds: named by everything they depend on, so a changed setting elsewhere
        reuses them.
        """
        return self.folder("builds", "chunks")

    @property
    def stages(self) -> Folder:
        """Results of the stages that need all rows, shared and named in the same way."""
        return self.folder("builds", "stages")

    @property
    def spools(self) -> Path:
        """Where rows that have no file of their own stand on this disk while a build reads them."""
        return self.root / "builds"

    def tokens(self, version: str, tokenizer: str) -> Folder:
        """Folder of a version's token shards under one tokenizer."""
        return self.folder("tokens", f"{version}-{tokenizer[:12]}")

    def token_folders(self, version: str) -> list[Folder]:
        """Folders of a version's token shards, finished or not."""
        names = self.folder("tokens").children()
        return [self.folder("tokens", name) for name in names if name.startswith(f"{version}-")]

    def run(self, name: str, run: str) -> Folder:
        """Folder of one training run."""
        return self.folder("runs", name, run)

    @contextmanager
    def in_use(self, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold what is in the store for the length of a block: `collect` deletes nothing meanwhile.

        Whoever makes a version, token shards or a ref does it in here; `waiting` is called when `collect` is at work.
        """
        with locked(self.root / "builds" / "lock", waiting, shared=True):
            if self.prefix is None:
                yield
                return
            with leases.in_use(self.prefix / LEASES, waiting):
                yield

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Have the store alone for the length of a block; False when somebody makes something in it.

        Raises StoreError in place of it for an object store, which tells who.
        """
        with locked_if_free(self.root / "builds" / "lock") as free:
            if self.prefix is None or not free:
                yield free
                return
            with leases.alone(self.prefix / LEASES):
                yield True

    def repeated(self) -> Counter[str]:
        """How many calls to the store failed so far and were made again, by call, on this machine."""
        return repeated(self.root / RETRIES) if self.prefix is not None else Counter()

    def require_writable(self) -> None:
        """Raise StoreError when nothing can be made in the store; asked before work begins that would be in vain."""
        require_writable(self.root)

    def sweep(self, name: str, plan: str) -> None:
        """Delete what killed processes left half-written on this disk of results, of the data set's refs and beside the
        plan's work, unless somebody makes something in the store now: it may be theirs.
        """
        folders = (self.chunks.path, self.stages.path, self.data(name).path / "refs", self.build(plan).path)
        if any(any(folder.glob(f"{ASIDE}*")) for folder in folders):
            with locked_if_free(self.root / "builds" / "lock") as alone:
                for folder in folders if alone else ():
                    remove_asides(folder)

    @property
    def names(self) -> list[str]:
        """Data sets that have a version or a ref."""
        return [name for name, is_folder in self.folder("data").children().items() if is_folder]

    def ref(self, name: str, ref: str) -> str | None:
        """The version a ref names, or None."""
        content = (self.data(name) / "refs").read(ref)
        return None if content is None else content.decode().strip()

    def refs(self, name: str) -> dict[str, str]:
        """The version that each ref of a data set names."""
        there = (self.data(name) / "refs").children()
        named = {ref: self.ref(name, ref) for ref, is_folder in there.items() if not is_folder and _REF.fullmatch(ref)}
        return {ref: version for ref, version in named.items() if version is not None}

    def set_ref(self, name: str, ref: str, version: str) -> None:
        """Let a ref name a version, in one step. Raises CallError for a ref that could be taken for a version."""
        if not _REF.fullmatch(ref) or _VERSION.fullmatch(ref):
            raise CallError(
                f"ref '{ref}': a ref is up to 64 letters, digits, dots, dashes and underscores, begins with a letter "
                "or digit, and is not 12 hex digits as a version's own name is"
            )
        (self.data(name) / "refs").write(ref, f"{version}\n".encode())

    def delete_ref(self, name: str, ref: str) -> None:
        """Forget a ref; the version it named stays until `collect`. Raises UnknownName when there is none, CallError
        for `latest`, which belongs to the builds.
        """
        if ref == "latest":
            raise CallError(f"{name}: `latest` names the version that was built last; it cannot be deleted")
        if ref not in self.refs(name):
            raise UnknownName("ref", ref, self.refs(name), where=name)
        (self.data(name) / "refs").delete([ref])

    def versions(self, name: str) -> list[str]:
        """Complete versions of a data set."""
        there = self.data(name).children()
        return [one for one in there if _VERSION.fullmatch(one) and self.version(name, one).has(MANIFEST)]

    def find(self, written: str) -> Folder:
        """The folder of a version written NAME, NAME@REF, NAME@HEX (how it begins is enough), as a path or as a URL.

        Raises UnknownName when there is none, CallError when it cannot be meant or several begin so.
        """
        if (Path(written) / MANIFEST).is_file():
            return Folder(Path(written))
        if is_url(written):
            return self._at(written)
        match = _WRITTEN.match(written)
        if match is None:
            raise CallError(f"'{written}': neither a version's folder nor NAME, NAME@REF or NAME@HEX")
        name, ref = match["name"], match["ref"] or "latest"
        return self.version(name, self.ref(name, ref) or self._begun(name, ref, written))

    def _at(self, url: str) -> Folder:
        """A version of this store, or of another one that is opened with the same options, by its URL."""
        head, _, version = url.rstrip("/").rpartition("/")
        store, _, name = head.rpartition("/data/")
        if not store or not _VERSION.fullmatch(version):
            raise CallError(f"'{url}': no version's URL; it ends in /data/NAME/VERSION")
        if self.prefix is not None and store == self.prefix.url:
            return self.version(name, version)
        options = self.prefix.options if self.prefix is not None else None
        return Store.at(store, options=options, work=self.root.parent if self.prefix is not None else None).version(
            name, version
        )

    def _begun(self, name: str, start: str, written: str) -> str:
        """The one version whose name begins so."""
        there = self.versions(name)
        found = [version for version in there if len(start) >= 4 and version.startswith(start)]
        if len(found) > 1:
            raise CallError(f"'{written}' can mean {', '.join(found)}; give more digits")
        if not found:
            known = [f"{name}@{one}" for one in (*self.refs(name), *there)] if there else self.names
            raise UnknownName("version", written, known, where=str(self))
        return found[0]
