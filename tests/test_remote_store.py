"""A store in an object store: the same bytes as on this disk, whatever calls fail and whoever is killed."""

from __future__ import annotations

import json
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from click.testing import CliRunner, Result
from s3_server import FailingServer, make_bucket, options_for, serving
from tiny_recipe import bytes_of, tiny, write_inputs

from didact.build.pipeline import build
from didact.cli import cli
from didact.errors import CallError, StoreError
from didact.remote import retries
from didact.remote.folder import Folder
from didact.remote.prefix import Prefix
from didact.report.progress import Silent
from didact.store import leases
from didact.store.collect import collect
from didact.store.layout import Store, StoreAt
from didact.store.version import Version

SECRET = "a-secret-that-is-never-written"


@pytest.fixture(scope="module")
def server() -> Iterator[FailingServer]:
    """An S3 server with a bucket."""
    with serving() as found:
        make_bucket(found, "bucket")
        yield found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the inputs."""
    folder = tmp_path_factory.mktemp("remote")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def local(home: Path) -> Version:
    """What a build makes on this disk."""
    return build(tiny(home, store=str(home / "store")), workers=1)


@pytest.fixture(scope="module")
def built(server: FailingServer, home: Path, local: Version) -> StoreAt:
    """A store in the bucket with the version in it."""
    at = StoreAt("s3://bucket/shared", options_for(server), home / "work")
    build(tiny(home), store=at, workers=1)
    return at


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests need not wait for a server on this machine to recover."""
    monkeypatch.setattr(retries, "_FIRST_WAIT", 0.001)


def stored_bytes(version: Version) -> Mapping[str, str | None]:
    """SHA-256 of every file of a version as the store holds them."""
    return {name: version.folder.sha256(name) for name in sorted(version.folder.files())}


def call(server: FailingServer, *words: Any, work: Path) -> Result:
    """Run a command on the store, and expect it to succeed."""
    flags = [f"--storage={key}={value}" for key, value in options_for(server).items()]
    done = CliRunner().invoke(cli, [*map(str, words), *flags, f"--work={work}"])
    assert done.exit_code == 0, done.output
    return done


def test_a_build_below_a_prefix_has_the_bytes_of_one_on_this_disk(built: StoreAt, local: Version) -> None:
    """Every object of the version is what a build on this disk writes, and `verify` finds it whole."""
    version = Version.open(built.open("").find("tiny"))
    assert stored_bytes(version) == bytes_of(local) and version.verify() == []


def test_every_command_that_reads_a_store_reads_this_one(
    server: FailingServer, home: Path, built: StoreAt, local: Version, tmp_path: Path
) -> None:
    """From a machine that has nothing of it: log, ref, verify, diff, explain, export and tokenize answer as here."""
    store, there = ["--store", "s3://bucket/shared"], {"work": tmp_path / "work"}
    call(server, "ref", "tiny@latest", "v1", *store, **there)
    told = json.loads(call(server, "log", "tiny", "--json", *store, **there).stdout)
    assert [(one["version"], one["refs"]) for one in told] == [(local.manifest.version, ["latest", "v1"])]
    assert "all as the manifest says" in call(server, "verify", "tiny@v1", *store, **there).stdout
    assert json.loads(call(server, "diff", str(local.path), "tiny", "--json", *store, **there).stdout)["same"]
    one = local.table("finetune")["id"][0].as_py()
    life = json.loads(call(server, "explain", "tiny", one, "--json", *store, **there).stdout)
    assert life == {"rows": [one.as_json() for one in local.explain(one)]}
    call(server, "export", "tiny", tmp_path / "out", "--to", "jsonl", *store, **there)
    local.export(tmp_path / "here", "jsonl")
    assert (tmp_path / "out" / "export.json").read_bytes() == (tmp_path / "here" / "export.json").read_bytes()
    first = json.loads(call(server, "tokenize", "tiny", "--json", *store, **there).stdout)
    again = json.loads(call(server, "tokenize", "tiny", "--json", *store, work=tmp_path / "other").stdout)
    assert again["manifest"] == first["manifest"] and again["path"].startswith(str(tmp_path / "other"))
    url = f"s3://bucket/shared/data/tiny/{local.manifest.version}"
    assert "all as" in call(server, "verify", url, *store, **there).stdout
    call(server, "ref", "tiny", "v1", "--delete", *store, **there)


def test_a_version_is_read_from_python_by_its_url(server: FailingServer, local: Version, built: StoreAt) -> None:
    """Tables, frames and data sets of a version that is elsewhere are those of one that is here."""
    url = f"s3://bucket/shared/data/tiny/{local.manifest.version}"
    version = Version.open(built.open("").find(url))
    assert version.table("finetune").equals(local.table("finetune"))
    assert version.to_pandas("finetune").equals(local.to_pandas("finetune"))
    assert version.to_datasets("finetune")["train"].to_list() == local.to_datasets("finetune")["train"].to_list()
    assert bytes_of(Version.open(version.fetch())) == bytes_of(local)


class Notes(Silent):
    """Remembers what is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Remember."""
        self.notes.append(text)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_one_failed_call_in_ten_changes_no_byte(
    server: FailingServer, home: Path, local: Version, tmp_path: Path, seed: int
) -> None:
    """Errors of the server, dropped connections and writes whose answer was lost: the same bytes, and all is told."""
    notes = Notes()
    at = StoreAt(f"s3://bucket/failing-{seed}", options_for(server), tmp_path)
    with server.failing(0.1, seed):
        version = build(tiny(home), store=at, workers=1, tell=notes)
    assert sum(server.failed.values()) >= 5
    assert stored_bytes(version) == bytes_of(local) and version.verify() == []
    (told,) = (note for note in notes.notes if "were made again" in note)
    # Less than failed: the note is about the build alone, and some calls are made again by the library.
    assert 0 < sum(map(int, re.findall(r"[a-z]+ (\d+)", told))) <= sum(server.failed.values())
    # The note is not about the trial of the store, nor about build.json and the page, which are written after it.
    assert "write" in told or server.unanswered["PUT"] <= 3
    made = version.folder.prefix
    assert made is not None and at.open("").built("tiny", version.manifest.plan) is not None


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://there"),
        ConnectTimeoutError(endpoint_url="http://there"),
        ConnectionClosedError(endpoint_url="http://there"),
        ReadTimeoutError(endpoint_url="http://there"),
        ConnectionResetError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_connection_that_breaks_is_made_again(error: Exception) -> None:
    """Whenever it breaks: before, while or after a request is sent. S3's library has errors of its own for it."""
    answers: list[Exception | bytes] = [error, b"answer"]

    def ask() -> bytes:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    assert retries.persist(ask, "read", "s3://bucket/x", None) == b"answer" and not answers


def test_a_lost_answer_of_a_conditional_write_is_no_conflict(server: FailingServer, tmp_path: Path) -> None:
    """The manifest that was written although nobody was told so is recognised; another content is not overwritten."""
    prefix = Prefix.at("s3://bucket/create", options_for(server))
    with server.failing(0.5, 5):
        assert all(prefix.create(f"{number}", b"mine") for number in range(8))
    assert not prefix.create("0", b"other") and prefix.read("0") == b"mine"


def test_a_store_that_stays_away_is_told_with_url_and_call(
    server: FailingServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many attempts one line says which call of which object failed, how, and what to do."""
    monkeypatch.setattr(retries, "_LONGEST_WAIT", 0.001)
    at = StoreAt("s3://bucket/away", options_for(server), tmp_path)
    with server.failing(1.0, 1), pytest.raises(StoreError, match=r"s3://bucket/away/.* failed 8 times.* goes on"):
        build(tiny(home), store=at, workers=1)


def test_a_bucket_that_is_not_there_is_told(server: FailingServer, home: Path, tmp_path: Path) -> None:
    """A wrong bucket is refused at once, not tried again."""
    at = StoreAt("s3://nowhere-to-be-found/x", options_for(server), tmp_path)
    with pytest.raises(StoreError, match=r"nowhere-to-be-found.*bucket"):
        build(tiny(home), store=at, workers=1)


KILLED = """
import json, os, signal, sys
from pathlib import Path
from didact.build.pipeline import build
from didact.remote import prefix
from didact.store.layout import StoreAt
left, real = int(sys.argv[1]), prefix.persist
def counted(call, what, *rest):
    global left
    if what == "write":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    found = real(call, what, *rest)
    if left == 1 and what == "write" and len(sys.argv) > 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
prefix.persist = counted
build(json.loads(sys.argv[2]), store=StoreAt("s3://bucket/" + sys.argv[3], json.loads(sys.argv[4]), Path(sys.argv[5])),
      workers=1)
"""
"""A build that kills itself at its n-th write to the store."""


@pytest.mark.parametrize("moment", [30, *(pytest.param(at, marks=pytest.mark.slow) for at in (1, 8, 20, 45, 52, 57))])
def test_a_killed_build_goes_on_on_another_machine(
    server: FailingServer, home: Path, local: Version, tmp_path: Path, moment: int
) -> None:
    """The second machine sees the store alone. It makes the same bytes, makes no complete chunk again, and nothing of
    the killed build counts as data.
    """
    place, options = f"killed-{moment}", options_for(server)
    recipe = json.dumps(tiny(home))
    words = [str(moment), recipe, place, json.dumps(options), str(tmp_path / "first")]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    at = StoreAt(f"s3://bucket/{place}", options, tmp_path / "second")
    store = at.open("")
    assert store.versions("tiny") == [] and store.ref("tiny", "latest") is None
    complete = {name: when(store.chunks, name) for name in store.chunks.children() if name.endswith(".done.json")}
    assert complete or moment < 10
    version = build(tiny(home), store=at, workers=1)
    assert stored_bytes(version) == bytes_of(local) and version.verify() == []
    assert {name: when(store.chunks, name) for name in complete} == complete
    assert store.versions("tiny") == [version.manifest.version]


def when(folder: Folder, name: str) -> Any:
    """When an object was written, and what identifies its content."""
    assert folder.prefix is not None
    return folder.prefix.filesystem.info(folder.prefix.address(name))["LastModified"]


def test_what_differs_in_the_store_is_found(server: FailingServer, home: Path, tmp_path: Path) -> None:
    """`verify` reads the objects, not this machine's copies: a flipped bit, a missing and an extra object are told."""
    version = build(tiny(home), store=StoreAt("s3://bucket/flipped", options_for(server), tmp_path), workers=1)
    folder, name = version.folder, "dropped/dropped-00000.parquet"
    content = folder.read(name)
    assert content is not None and folder.prefix is not None
    folder.write(name, bytes([content[0] ^ 1]) + content[1:])
    folder.prefix.delete(["README.md"])
    folder.write("extra", b"")
    problems = version.verify()
    assert problems == [
        "README.md: missing",
        "extra: not in the manifest",
        f"{name}: content differs from its SHA-256",
    ]
    with pytest.raises(StoreError, match="differs from its SHA-256"):
        Folder(tmp_path / "elsewhere", folder.prefix).file(name, len(content), "0" * 64)


def test_credentials_are_written_nowhere(built: StoreAt, home: Path) -> None:
    """Neither in the store nor in the working folder nor in what is printed stands the secret."""
    store = built.open("")
    assert store.prefix is not None and SECRET in store.prefix.options.values()
    assert SECRET not in repr(store) + repr(built) + str(store)
    for name in store.folder().files():
        assert SECRET.encode() not in (store.folder().read(name) or b""), name
    for path in store.root.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    with pytest.raises(CallError, match="password"):
        Store.at("s3://user:word@bucket/x")


def test_a_folder_travels_to_workers(built: StoreAt, local: Version, tmp_path: Path) -> None:
    """A pickled folder fetches on another machine what it needs."""
    folder = pickle.loads(pickle.dumps(built.open("").find("tiny")))  # noqa: S301 (made here)
    elsewhere = Folder(tmp_path, folder.prefix)
    assert elsewhere.file("README.md").read_bytes() == (local.path / "README.md").read_bytes()


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/../../b", "", "a\\..\\b"])
def test_names_do_not_leave_their_folder(name: str, built: StoreAt) -> None:
    """A foreign manifest cannot make Didact write outside of the working folder."""
    with pytest.raises(StoreError, match="no name below"):
        built.open("").folder("data").file(name)


def test_gc_gives_way_to_builds_and_takes_over_from_the_dead(
    server: FailingServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While anybody works on the store nothing is deleted, from whichever machine; a dead process's lease runs out."""
    first, second = (StoreAt("s3://bucket/leases", options_for(server), tmp_path / name) for name in "ab")
    build(tiny(home), store=first, workers=1)
    old = first.open("").versions("tiny")
    new = build(tiny(home, seed=9), store=first, workers=1).manifest.version
    with first.open("").in_use(), pytest.raises(StoreError, match="making something in the store"):
        collect(second.open(""))
    held = second.open("").alone()
    with held, pytest.raises(StoreError, match="another gc"):
        collect(first.open(""))
    (first.open("").prefix / "builds/in-use").write("dead.json", b"{}")  # type: ignore[operator]
    with pytest.raises(StoreError, match="making something"):
        collect(second.open(""), dry_run=True)
    monkeypatch.setattr(leases, "DEAD", timedelta(0))
    gone = collect(second.open(""))
    assert {found.path for found in gone.deleted if found.path.startswith("data/")} == {f"data/tiny/{old[0]}"}
    assert second.open("").versions("tiny") == [new] and Version.open(second.open("").find("tiny")).verify() == []
    assert not any("in-use" in name for name in second.open("").folder().files())
    monkeypatch.undo()
    assert collect(second.open("")).deleted == []


def test_unfinished_uploads_and_versions_are_collected(server: FailingServer, home: Path, tmp_path: Path) -> None:
    """Parts of an upload that was never finished go; files of a version that never was one go when it is asked for."""
    store = StoreAt("s3://bucket/unfinished", options_for(server), tmp_path).open("")
    build(tiny(home), store=StoreAt("s3://bucket/unfinished", options_for(server), tmp_path), workers=1)
    assert store.prefix is not None
    store.prefix.filesystem.call_s3("create_multipart_upload", Bucket="bucket", Key="unfinished/builds/chunks/big")
    store.folder("data", "tiny", "0123456789ab").write("data/x", b"half")
    first = collect(store)
    assert [found.path for found in first.deleted] == ["builds/chunks/big"]
    assert store.prefix.filesystem.list_multipart_uploads("bucket") == []
    assert [found.path for found in collect(store, unfinished=True).deleted] == ["data/tiny/0123456789ab"]
    assert "data/tiny/0123456789ab/data/x" not in store.folder().files()


@pytest.mark.slow
def test_two_builds_of_one_plan_at_once(server: FailingServer, home: Path, local: Version, tmp_path: Path) -> None:
    """Two machines that build the same both end well, and the version is whole."""
    script = (
        "import json, sys; from pathlib import Path; from didact.build.pipeline import build; "
        "from didact.store.layout import StoreAt; "
        "build(json.loads(sys.argv[1]), store=StoreAt('s3://bucket/twice', json.loads(sys.argv[2]), "
        "Path(sys.argv[3])), workers=1)"
    )
    words = [sys.executable, "-c", script, json.dumps(tiny(home)), json.dumps(options_for(server))]
    both = [subprocess.Popen([*words, str(tmp_path / name)], stderr=subprocess.PIPE) for name in "ab"]
    for process in both:
        _, told = process.communicate()
        assert process.returncode == 0, told.decode()
    version = Version.open(StoreAt("s3://bucket/twice", options_for(server), tmp_path / "c").open("").find("tiny"))
    assert stored_bytes(version) == bytes_of(local) and version.verify() == []


def test_a_build_with_other_libraries_is_refused(
    server: FailingServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of a version that is not whole yet are never mixed from builds whose libraries write other bytes."""
    at = StoreAt("s3://bucket/libraries", options_for(server), tmp_path)
    version = build(tiny(home), store=at, workers=1)
    store = at.open("")
    assert version.folder.prefix is not None
    version.folder.prefix.delete(["manifest.json"])
    store.build(version.manifest.plan).write_json("writer.json", version.manifest.created_by | {"pyarrow": "1.0"})
    with pytest.raises(StoreError, match=r"pyarrow 1\.0 instead of"):
        build(tiny(home), store=at, workers=1)


def test_a_store_in_memory_needs_no_server(home: Path, local: Version, tmp_path: Path) -> None:
    """Any file system of fsspec serves, as far as it can: here one without conditions, parts or times."""
    at = StoreAt("memory://didact/store", work=tmp_path)
    version = build(tiny(home), store=at, workers=1)
    assert stored_bytes(version) == bytes_of(local)
    assert build(tiny(home), store=at, workers=1).manifest.version == version.manifest.version
    assert collect(at.open("")).deleted == []


@pytest.mark.parametrize("url", ["nosuch://x/y", "hf-what://z"])
def test_an_unknown_protocol_is_a_bad_call(url: str, tmp_path: Path) -> None:
    """A URL that no file system serves is refused before anything is read."""
    with pytest.raises(CallError, match="cannot be opened"):
        StoreAt(url, work=tmp_path).open("")


def test_signs_of_life_go_on_while_a_lease_is_held(
    server: FailingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder writes its lease anew, so that long work is not taken for dead, and takes it back at the end."""
    monkeypatch.setattr(leases, "SIGN", 0.01)
    folder = Prefix.at("s3://bucket/signs", options_for(server))
    before = server.calls["PUT"]
    with leases.in_use(folder, lambda: None):
        while server.calls["PUT"] < before + 4:
            pass
        assert len(folder.children()) == 1
    assert folder.children() == {}
