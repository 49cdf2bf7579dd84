"""Inputs at URLs: the same rows as from files of this disk, fetched once and again when they change."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from click.testing import CliRunner
from s3_server import FailingServer, make_bucket, options_for, serving
from tiny_recipe import bytes_of, tiny, write_inputs

from didact.build.pipeline import build
from didact.cli import cli
from didact.errors import CallError, InputMissing
from didact.remote import retries
from didact.sources.elsewhere import Elsewhere, fetched_files
from didact.store.layout import StoreAt


@pytest.fixture(scope="module")
def server() -> Iterator[FailingServer]:
    """An S3 server with a bucket."""
    with serving() as found:
        make_bucket(found, "inputs")
        yield found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests need not wait for a server on this machine to recover."""
    monkeypatch.setattr(retries, "_FIRST_WAIT", 0.001)


@pytest.fixture
def how(server: FailingServer, tmp_path: Path) -> Elsewhere:
    """How the server is reached."""
    return Elsewhere(tmp_path / "inputs", {"s3": options_for(server)})


def put(server: FailingServer, name: str, content: bytes) -> None:
    """Write an object."""
    fsspec.filesystem("s3", **options_for(server)).pipe_file(name, content)


def contents(files: list[tuple[Path, str]]) -> dict[str, bytes]:
    """What was fetched."""
    return {relative: path.read_bytes() for path, relative in files}


def test_a_build_reads_objects_as_it_reads_files(server: FailingServer, tmp_path: Path) -> None:
    """With its sources in a bucket and one call in ten failing, a build makes the version it makes of local files."""
    write_inputs(tmp_path)
    recipe = tiny(tmp_path, store=str(tmp_path / "store"))
    local = build(recipe, workers=1)
    for path in tmp_path.iterdir():
        if path.is_file():
            put(server, f"inputs/data/{path.name}", path.read_bytes())
    sources = json.loads(json.dumps(recipe["sources"]).replace(f"{tmp_path}/", "s3://inputs/data/"))
    recipe |= {"sources": sources, "store": str(tmp_path / "other"), "storage": {"s3": options_for(server)}}
    with server.failing(0.1, 3):
        remote = build(recipe, store=StoreAt(work=tmp_path / "work"), workers=1)
    assert bytes_of(remote) == bytes_of(local)
    assert not any(b"a-secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_files_folders_and_globs(server: FailingServer, how: Elsewhere) -> None:
    """A URL names a file, a folder without what is hidden, or a glob; names are relative to what all have in common."""
    for name in ("a/one.jsonl", "a/b/two.jsonl", "a/.hidden", "a/b/three.csv", "c/four.jsonl"):
        put(server, f"inputs/tree/{name}", name.encode())
    folder = fetched_files(["s3://inputs/tree/a"], how)
    assert contents(folder) == {name: f"a/{name}".encode() for name in ("b/three.csv", "b/two.jsonl", "one.jsonl")}
    assert [name for _, name in fetched_files(["s3://inputs/tree/a/**/*.jsonl"], how)] == ["b/two.jsonl", "one.jsonl"]
    both = ["s3://inputs/tree/a/one.jsonl", "s3://inputs/tree/c/*"]
    assert [name for _, name in fetched_files(both, how)] == ["a/one.jsonl", "c/four.jsonl"]


def test_copies_follow_the_store(server: FailingServer, how: Elsewhere) -> None:
    """What is the same is not fetched again; a changed object is, whatever its size; one that is gone goes here too."""
    for name in "xy":
        put(server, f"inputs/moving/{name}", b"first")
    place = ["s3://inputs/moving"]
    (x, _), (y, _) = fetched_files(place, how)
    before = x.stat().st_mtime_ns
    put(server, "inputs/moving/y", b"other")
    assert contents(fetched_files(place, how)) == {"x": b"first", "y": b"other"}
    assert x.stat().st_mtime_ns == before
    fsspec.filesystem("s3", **options_for(server)).rm_file("inputs/moving/y")
    assert contents(fetched_files(place, how)) == {"x": b"first"} and not y.exists()


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("s3://inputs/nothing-here.jsonl", InputMissing),
        ("s3://inputs/none/*.jsonl", InputMissing),
        ("nosuch://x/y.jsonl", CallError),
    ],
)
def test_what_is_not_there_is_a_bad_call(how: Elsewhere, url: str, error: type[Exception]) -> None:
    """A URL that stands for nothing is told with its name."""
    with pytest.raises(error, match=url.partition("*")[0][:12]):
        fetched_files([url], how)


def test_validate_reads_any_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed rows in another file system are checked like local ones, and named by their path."""
    monkeypatch.setenv("HOME", str(tmp_path))
    rows: list[Any] = [{"instruction": "Name a colour.", "input": "", "output": "Green, like grass."}, "no object"]
    content = gzip.compress("\n".join(map(json.dumps, rows)).encode())
    fsspec.filesystem("memory").pipe_file("/checked/rows.jsonl.gz", content)
    report = tmp_path / "report.json"
    done = CliRunner().invoke(
        cli, ["validate", "memory://checked/rows.jsonl.gz", "--format", "alpaca", "--report", str(report)]
    )
    assert done.exit_code == 1 and "rows.jsonl.gz" in done.output and report.is_file()
