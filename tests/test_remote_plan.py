"""`build --plan` against an object store: what it tells of a store on this disk, and not one object changed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from click.testing import CliRunner
from s3_server import FailingServer, make_bucket, options_for, serving
from test_plan import tree
from tiny_recipe import tiny, write_inputs

from didact.build import space
from didact.build.pipeline import build
from didact.build.plan import plan
from didact.cli import cli
from didact.errors import StoreError
from didact.remote.folder import Folder
from didact.remote.prefix import Prefix
from didact.store.layout import StoreAt


@pytest.fixture(scope="module")
def server() -> Iterator[FailingServer]:
    """An S3 server with a bucket."""
    with serving() as found:
        make_bucket(found, "bucket")
        yield found


@pytest.fixture(scope="module")
def home(server: FailingServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the inputs; the recipe is built in a store in it, and in one in the bucket."""
    folder = tmp_path_factory.mktemp("plans")
    write_inputs(folder)
    build(tiny(folder), workers=1)
    build(tiny(folder), store=at(server, folder / "work"), workers=1)
    return folder


def at(server: FailingServer, work: Path, name: str = "built") -> StoreAt:
    """A store in the bucket, seen from a machine with that working folder."""
    return StoreAt(f"s3://bucket/{name}", options_for(server), work)


def objects(server: FailingServer) -> dict[str, tuple[Any, ...]]:
    """Every object of the bucket: what identifies its content, its size, when it was written."""
    filesystem = fsspec.filesystem("s3", **options_for(server), use_listings_cache=False)
    there = filesystem.find("bucket", detail=True)
    return {key: (info["ETag"], info["size"], info["LastModified"]) for key, info in there.items()}


def told(recipe: Path, *words: str) -> dict[str, Any]:
    """What `build --plan --json` prints, but for what differs each time or from disk to disk."""
    done = CliRunner().invoke(cli, ["build", str(recipe), "--plan", "--json", *words])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    assert found.pop("store") == (words[-1] if "--store" in words else json.loads(recipe.read_text())["store"])
    found["space"].pop("free")
    if found["sample"]:
        # Seconds that the sample took; those reckoned from another build's seconds are of its stages by name.
        found["sample"]["seconds"] = sorted(found["sample"]["seconds"])
    return found


CLEANING: dict[str, Any] = {"clean": {"entities": False}}
DEDUP: dict[str, Any] = {"dedup": {"minhash": {"keep": "first"}}}
SAMPLE = ("--sample", "9")


@pytest.mark.parametrize(
    ("store", "changes", "sample"),
    [("built", {}, ()), ("built", {}, SAMPLE), ("built", CLEANING, SAMPLE), ("built", DEDUP, ()), ("new", {}, SAMPLE)],
)
def test_a_plan_of_a_store_in_a_bucket_tells_what_one_of_a_store_here_tells(
    server: FailingServer, home: Path, tmp_path: Path, store: str, changes: dict[str, Any], sample: tuple[str, ...]
) -> None:
    """The same sources, stages, reasons, room and sample; every object is as it was, and no working folder is made."""
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(tiny(home, **changes, store=str(home / {"built": "store", "new": "none"}[store]))))
    storage = [f"--storage={key}={value}" for key, value in options_for(server).items()]
    before, disk = objects(server), tree(home)
    url = f"s3://bucket/{store}"
    assert told(recipe, *sample, *storage, f"--work={home / 'work'}", "--store", url) == told(recipe, *sample)
    assert objects(server) == before and tree(home) == disk
    told(recipe, *sample, *storage, f"--work={tmp_path / 'work'}", "--store", url)
    assert objects(server) == before and list(tmp_path.iterdir()) == [recipe]


def test_a_plan_asks_again_when_calls_fail(server: FailingServer, home: Path, tmp_path: Path) -> None:
    """One call in ten failing changes nothing that is told, and nothing in the bucket."""
    recipe = tiny(home, **CLEANING)
    before = objects(server)
    quiet = plan(recipe, store=at(server, tmp_path))
    with server.failing(0.1, 2):
        found = plan(recipe, store=at(server, tmp_path))
    assert sum(server.failed.values()) >= 2 and objects(server) == before
    assert found.model_dump(exclude={"space": {"free"}}) == quiet.model_dump(exclude={"space": {"free"}})


def test_results_that_only_the_bucket_has_need_room_here(
    server: FailingServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without copies fetches the results that are on file, so it needs room for them; one with copies not."""
    recipe = tiny(home, **DEDUP)
    copies, none = (plan(recipe, store=at(server, work)).space for work in (home / "work", tmp_path / "none"))
    assert copies.on_file > 0 == none.on_file and none.results == copies.results == copies.on_file
    assert (copies.needed, none.needed) == (copies.version, none.results + none.version)
    monkeypatch.setattr(space, "free_bytes", lambda folder: copies.needed + 1)
    with pytest.raises(StoreError, match="are free"):
        build(recipe, store=at(server, tmp_path / "none"), workers=1)


@pytest.fixture(params=["disk", "memory", "s3"])
def folder(request: pytest.FixtureRequest, server: FailingServer, tmp_path: Path) -> Folder:
    """An empty folder on each kind of store."""
    urls = {"memory": f"memory://{tmp_path.name}", "s3": f"s3://bucket/{tmp_path.name}"}
    options = options_for(server) if request.param == "s3" else {}
    return Folder(tmp_path, Prefix.at(urls[request.param], options) if request.param in urls else None)


def test_the_newest_comes_first(folder: Folder) -> None:
    """Whatever the names; where times are the same, by name. A plan tells what differs from the last build so."""
    assert folder.newest_first(".json") == []
    for moment, names in enumerate((["e.json", "b.json"], ["c.json", "x.txt", "in/a.json"], ["d.json"])):
        for name in names:
            folder.write(name, b"{}")
            if folder.prefix is None:
                os.utime(folder.path / name, (moment, moment))
        # S3 tells whole seconds.
        time.sleep(1.0 - time.time() % 1.0 if str(folder).startswith("s3") else 0.001)
    assert folder.newest_first(".json") == ["d.json", "c.json", "b.json", "e.json"]
