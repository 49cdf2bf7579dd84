"""A disk that is full or read-only: one line that says so, nothing that looks whole and is not, and a way on."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from mounted import resize, set_writable, small_disk
from tiny_recipe import build_tiny, bytes_of, tiny, write_inputs

from didact.build import space
from didact.build.pipeline import build
from didact.cli import cli
from didact.durable import ASIDE
from didact.errors import StoreError
from didact.report.progress import Silent
from didact.store.layout import Store
from didact.store.version import Version

ROOM = 40_000_000
REFUSAL = re.compile(
    r"^[^\n]+: cannot be written \(No space left on device\); it needs (more than the )?[\d.,]+ MB[^\n]* are free: "
    r"make room or choose another place, then run again; what is complete is kept$"
)


@pytest.fixture(autouse=True)
def _filled_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is asked for before a build begins (see test_plan.py); here somebody else fills the disk after that."""
    monkeypatch.setattr(space, "free_bytes", lambda folder: 10**12)


class Stages(Silent):
    """Remembers the stage that was told last."""

    last = ""

    def stage(self, name: str) -> None:
        """Another stage begins."""
        self.last = name


def call(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="didact")


def told(result: Result, code: int = 1) -> str:
    """The one line a failed command ends with; it failed as it should."""
    errors = [line for line in result.stderr.splitlines() if line.startswith("didact: error: ")]
    assert result.exit_code == code and len(errors) == 1, result.output
    assert not result.exc_info or result.exc_info[0] is SystemExit
    return errors[0].removeprefix("didact: error: ")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the inputs."""
    folder = tmp_path_factory.mktemp("full")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def whole(home: Path) -> Mapping[str, str]:
    """The bytes that a build makes whose disk has room."""
    return bytes_of(build_tiny(home, store=str(home / "whole")))


@pytest.fixture(scope="module")
def needed(home: Path, whole: Mapping[str, str]) -> int:
    """Bytes that the whole store takes, in pages as a small disk counts them."""
    assert whole
    files = [path for path in (home / "whole").rglob("*") if path.is_file()]
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in files)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room."""
    with small_disk(tmp_path / "disk", ROOM) as folder:
        yield folder


def refused_at(home: Path, store: Path, size: int, whole: Mapping[str, str]) -> str | None:
    """Build on a disk of a size. The stage at which it was full, or None when it was not.

    Whichever it is: what is published is whole, nothing half-written stays, and with room the build goes on to the same
    bytes.
    """
    stages = Stages()
    with small_disk(store, size) as folder:
        try:
            build(tiny(home, store=str(folder)), workers=1, tell=stages)
        except StoreError as error:
            assert REFUSAL.match(str(error)) and str(folder) in str(error) and ASIDE not in str(error)
            full = True
        else:
            full = False
        place = Store(folder)
        for version in place.versions("tiny"):
            assert Version.open(place.version("tiny", version)).verify() == []
        assert not list(folder.rglob(f"{ASIDE}*"))
        resize(folder, ROOM)
        again = build(tiny(home, store=str(folder)), workers=1)
        assert again.verify() == [] and bytes_of(again) == whole
        assert place.ref("tiny", "latest") == again.path.name
    return stages.last if full else None


@pytest.mark.parametrize(("share", "stage"), [(0.3, "read, clean, measure"), (0.72, "shards")])
def test_a_build_on_a_full_disk_is_one_line_and_goes_on(
    home: Path, whole: Mapping[str, str], needed: int, tmp_path: Path, share: float, stage: str
) -> None:
    """The line names file, need, what is free and what to do; with room the build ends in the same bytes."""
    assert refused_at(home, tmp_path / "disk", int(share * needed), whole) == stage


@pytest.mark.slow
def test_a_build_may_fill_the_disk_at_any_stage(
    home: Path, whole: Mapping[str, str], needed: int, tmp_path: Path
) -> None:
    """The same for every size from nothing to enough, in steps of five pages: every stage that writes much meets it."""
    met = {refused_at(home, tmp_path / "disk", size, whole) for size in range(4096, needed + 200_000, 20_480)}
    assert met >= {"read, clean, measure", "tokenizer and counts", "shards", None}


def test_a_disk_without_room_for_one_more_file_is_told(home: Path, tmp_path: Path) -> None:
    """Where bytes are free and files are not, the line does not speak of bytes."""
    with small_disk(tmp_path / "disk", ROOM, files=12) as folder, pytest.raises(StoreError, match="no place for one m"):
        build(tiny(home, store=str(folder)), workers=1)


def test_workers_that_find_the_disk_full_end_with_one_line(home: Path, tmp_path: Path) -> None:
    """The command ends with exit code 1 and the worker's line; no process dumps a traceback."""
    recipe = tmp_path / "recipe.json"
    with small_disk(tmp_path / "disk", 120_000) as folder:
        recipe.write_text(json.dumps(tiny(home, store=str(folder))))
        assert REFUSAL.match(told(call("build", recipe, "--workers", "2")))
        assert not list((folder / "data").glob("*/*/manifest.json")) and not list(folder.rglob(f"{ASIDE}*"))


def test_a_read_only_store_is_refused_before_anything_is_read(home: Path, disk: Path) -> None:
    """The inputs are not even looked for: the store comes first."""
    set_writable(disk, False)
    recipe = tiny(home, store=str(disk / "store"))
    recipe["sources"]["prose"]["path"] = str(home / "absent.txt")
    with pytest.raises(StoreError, match=r"store: cannot be written \(Read-only file system\); mount it for writing"):
        build(recipe, workers=1)
    assert not (disk / "store").exists()


def test_what_reads_works_on_a_read_only_store(home: Path, disk: Path, tmp_path: Path) -> None:
    """verify, log, diff, explain, export and loading need no right to write; what writes is one line."""
    first = build_tiny(home, store=str(disk))
    second = build_tiny(home, store=str(disk), filters=[])
    record = first.table("finetune")["id"][0].as_py()
    set_writable(disk, False)
    at = ("--store", disk)
    reading = [
        ("verify", "tiny", *at),
        ("log", "tiny", *at),
        ("diff", f"tiny@{first.path.name}", "tiny", *at),
        ("explain", "tiny", record, *at),
        ("export", "tiny", tmp_path / "out", "--to", "hf", *at),
    ]
    for arguments in reading:
        done = call(*arguments)
        assert done.exit_code == 0, done.output
    assert Version.open(second.path).to_pandas("finetune").shape[0] == second.manifest.mixes["finetune"].rows["train"]
    for arguments in [("tokenize", "tiny", *at), ("ref", "tiny", "v1", *at), ("gc", disk)]:
        assert "Read-only file system" in told(call(*arguments))


def test_a_version_loads_in_datasets_from_a_read_only_store(home: Path, disk: Path, tmp_path: Path) -> None:
    """Hugging Face's loader writes its cache elsewhere and nothing beside the shards."""
    import datasets

    version = build_tiny(home, store=str(disk))
    set_writable(disk, False)
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(version.path), "finetune", split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["id"] == version.table("finetune")["id"].to_pylist()


def test_a_checkpoint_that_finds_the_disk_full_midway_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may take the room after it was asked for: one line, nothing half-written, the older one stays."""
    import torch
    from toy_training import ToyTokenizer, toy_model

    from didact.model import checkpoint

    monkeypatch.setattr(checkpoint, "check_room", lambda *_: None)
    tensors = {"muon.x": torch.ones(64, 1024)}
    with small_disk(tmp_path / "disk", 400_000) as folder:
        first = checkpoint.save_checkpoint(folder, 1, toy_model(), {"step": 1}, tensors, ToyTokenizer().save)
        with pytest.raises(StoreError) as refused:
            checkpoint.save_checkpoint(folder, 2, toy_model(), {"step": 2}, tensors, ToyTokenizer().save)
        assert REFUSAL.match(str(refused.value)) and "step-2" in str(refused.value)
        assert checkpoint.newest(folder, tidy=False) == first
        assert [path.name for path in folder.iterdir()] == ["step-1"]


def files_but_locks(folder: Path) -> list[Path]:
    """Every file that holds something; a lock is empty and stays for the next call."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock"]


def test_what_is_written_beside_a_build_meets_a_full_disk_too(home: Path, disk: Path, tmp_path: Path) -> None:
    """tokenize, export, convert and validate --fix: one line, nothing left, and the same call succeeds with room."""
    lines = tmp_path / "rows.jsonl"
    rows = [{"instruction": f"Say {n}\\u200b", "input": "", "output": "word " * 40} for n in range(300)]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    version = build_tiny(home, store=str(disk))
    shutil.copytree(version.path.parents[2], tmp_path / "copy")
    with small_disk(tmp_path / "small", 8192) as small:
        store = tmp_path / "copy"
        (small / "tokens").mkdir()
        (store / "tokens").symlink_to(small / "tokens")
        calls = [
            ("tokenize", "tiny", "--store", store),
            ("export", version.path, small / "out", "--to", "jsonl"),
            ("convert", lines, small / "out.jsonl", "--to", "openai", "--allow-loss"),
            ("validate", lines, "--fix", small / "fixed.jsonl"),
        ]
        for arguments in calls:
            before = files_but_locks(small)
            assert REFUSAL.match(told(call(*arguments))), arguments
            assert files_but_locks(small) == before
        resize(small, ROOM)
        for arguments in calls:
            done = call(*arguments)
            # validate's own verdict: the rows have something to correct.
            assert done.exit_code in (0, 1) and "didact: error" not in done.output
