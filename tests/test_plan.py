"""A plan tells what a build would run and why, truly, and writes nothing."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from mounted import set_writable, small_disk
from tiny_recipe import build_tiny, tiny, write_inputs

from didact.build import space
from didact.build.pipeline import build
from didact.build.plan import plan
from didact.build.schemas import published
from didact.cli import cli
from didact.engine.chunks import all_made
from didact.errors import StoreError
from didact.report.plan_json import BuildPlan
from didact.store.layout import Store


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the inputs and a store in which the recipe is built."""
    folder = tmp_path_factory.mktemp("built")
    build_tiny(folder)
    return folder


@pytest.fixture
def home(built: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(built, tmp_path / "home"))


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder below, with its size and the time of its last change."""
    found = [folder, *folder.rglob("*")]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def made(folder: Path) -> dict[str, str]:
    """Every result of the store: what it is of, by key."""
    store = Store(folder / "store")
    return {made.key: made.of for part in (store.chunks, store.stages) for made, _ in all_made(part)}


def reasons_of(found: BuildPlan) -> dict[str, set[tuple[str, str]]]:
    """Why what runs: reasons and what they are about, by source and stage."""
    told: dict[str, set[tuple[str, str]]] = {
        one.source: {(b.reason.why, b.reason.what) for b in one.because} for one in found.sources if one.run
    }
    return told | {one.stage: {(b.why, b.what) for b in one.because} for one in found.stages if one.state == "runs"}


Change = Callable[[Path], dict[str, Any]]


def sources(home: Path, **changes: Any) -> dict[str, Any]:
    """The recipe's sources, those of `stories` changed."""
    own: dict[str, Any] = tiny(home)["sources"]
    return own | {"stories": own["stories"] | changes}


def longer_prose(home: Path) -> dict[str, Any]:
    """One line more in an input."""
    with (home / "prose.txt").open("a") as file:
        file.write("A line that nobody has told before, about a river.\n")
    return {}


def another_file(home: Path) -> dict[str, Any]:
    """One file more in a source."""
    row = {"question": "Ann has 3 pens and buys 9. How many?", "answer": "12\n#### 12"}
    (home / "more.jsonl").write_text(json.dumps(row))
    own = tiny(home)["sources"]
    return {"sources": own | {"sums": own["sums"] | {"path": [*own["sums"]["path"], str(home / "more.jsonl")]}}}


COLUMNS = {"prompt": "instruction", "response": "output"}
MIXES: dict[str, Any] = {
    "finetune": {"sources": {"stories": {"epochs": 1}, "sums": {"epochs": 0.5}}},
    "pretrain": {"sources": {"prose": {"epochs": 1}}},
}
ALL = ("stories", "sums", "prose")
LATER = {
    "deduplicate": {("earlier stage", "read")},
    "split": {("earlier stage", "deduplicate")},
    "tokenizer": {("earlier stage", "split")},
} | {
    f"counts of {source}, {purpose}": {("earlier stage", "split"), ("earlier stage", "tokenizer")}
    for source, purpose in (("stories", "finetune"), ("sums", "finetune"), ("prose", "pretrain"))
}
"""What runs when a chunk does."""


def after(first: str, *reasons: tuple[str, str]) -> dict[str, set[tuple[str, str]]]:
    """A stage that runs for reasons of its own, and all that come after it."""
    names = list(LATER)
    return {first: set(reasons)} | {name: LATER[name] for name in names[names.index(first) + 1 :]}


def chunk(of: str, *reasons: tuple[str, str]) -> dict[str, set[tuple[str, str]]]:
    """A source whose chunks run, and all stages after them."""
    return {of: set(reasons)} | LATER


CASES: dict[str, tuple[Change, dict[str, set[tuple[str, str]]]]] = {
    "a file's content": (longer_prose, chunk("prose", ("changed file", "prose.txt"))),
    "another file": (another_file, chunk("sums", ("new file", "more.jsonl"))),
    "a source's setting": (
        lambda home: {"sources": sources(home, license="MIT")},
        chunk("stories", ("setting", "sources.stories.license")),
    ),
    "a source's limit": (
        lambda home: {"sources": sources(home, limit=40)},
        chunk("stories", ("setting", "sources.stories.limit")),
    ),
    "another format": (
        lambda home: {"sources": sources(home, format="prompt_completion", columns=COLUMNS)},
        chunk(
            "stories",
            ("format", "alpaca.json"),
            ("setting", "sources.stories.columns"),
            ("setting", "sources.stories.columns.prompt"),
            ("setting", "sources.stories.columns.response"),
        ),
    ),
    "a source's name": (
        lambda home: {
            "sources": tiny(home)["sources"] | {"verse": tiny(home)["sources"]["prose"]},
        },
        chunk("verse", ("new", "verse")),
    ),
    "a cleaning setting": (
        lambda home: {"clean": {"entities": False}},
        LATER | {name: {("setting", "clean.entities")} for name in ALL},
    ),
    "a filter signal": (
        lambda home: {"filters": [*tiny(home)["filters"], {"signal": "response.bytes", "min": 2, "sources": ["sums"]}]},
        LATER
        | {
            "sums": {("signal", "response.bytes")},
            "deduplicate": {("earlier stage", "read")}
            | {("setting", f"filters[1].{name}") for name in ("signal", "min", "sources")},
        },
    ),
    "a filter's bound": (
        lambda home: {"filters": [tiny(home)["filters"][0] | {"min": 2}]},
        after("deduplicate", ("setting", "filters[0].min")),
    ),
    "dedup ngram": (
        lambda home: {"dedup": {"minhash": {"ngram": 4}}},
        LATER
        | {name: {("setting", "dedup.minhash.ngram")} for name in ALL}
        | {
            "deduplicate": {("earlier stage", "read"), ("setting", "dedup.minhash.ngram")},
            "split": {("earlier stage", "deduplicate"), ("setting", "dedup.minhash.ngram")},
        },
    ),
    "what dedup keeps": (
        lambda home: {"dedup": {"minhash": {"keep": "first"}}},
        after("deduplicate", ("setting", "dedup.minhash.keep")),
    ),
    "a split's share": (
        lambda home: {"split": {"validation": 0.2, "test": 0.1}},
        after("split", ("setting", "split.validation")),
    ),
    "the vocabulary": (
        lambda home: {"tokenizer": {"vocab_size": 448}},
        {name: reasons - {("earlier stage", "split")} for name, reasons in LATER.items() if name.startswith("counts")}
        | {"tokenizer": {("setting", "tokenizer.vocab_size")}},
    ),
    "a mix share": (lambda home: {"mixes": MIXES}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_plan_tells_why_and_the_build_runs_exactly_that(case: str, home: Path) -> None:
    """Each kind of change is told by name, and the build makes anew what was told and nothing else."""
    change, expected = CASES[case]
    # The recipe is the one of the store's own folder, so that only the change differs.
    recipe = tiny(home) | change(home)
    before = made(home)
    found = plan(recipe)
    assert reasons_of(found) == expected
    assert found.version is None
    old = {path: path.stat().st_mtime_ns for path in Store(home / "store").chunks.path.iterdir()}
    build(recipe, workers=1)
    new = Counter(of for key, of in made(home).items() if key not in before)
    assert new == Counter({one.source: one.run for one in found.sources if one.run}) + Counter(
        one.stage for one in found.stages if one.state == "runs"
    )
    assert {path: path.stat().st_mtime_ns for path in old} == old
    assert plan(recipe).version is not None


def test_a_change_that_makes_no_version_runs_nothing(home: Path) -> None:
    """Store, workers and training sections are no part of a plan."""
    first = plan(tiny(home))
    assert first.version is not None and first.space.needed == 0
    for changes in ({"store": str(home / "elsewhere")}, {"model": {"depth": 2}, "finetune": {"epochs": 1}}):
        found = plan(tiny(home, **changes), store=home / "store")
        assert (found.plan, found.version, found.stages) == (first.plan, first.version, [])
    elsewhere = plan(tiny(home, store=str(home / "elsewhere")))
    assert elsewhere.plan == first.plan and elsewhere.version is None
    assert {why for reasons in reasons_of(elsewhere).values() for why, _ in reasons} == {"new"}


def test_a_deleted_result_is_made_again(home: Path) -> None:
    """A result that is damaged or gone runs again, and is not said to be on file."""
    recipe = tiny(home, filters=[])
    chunks = Store(home / "store").chunks.path
    for path in chunks.glob("*.side.arrow"):
        path.write_bytes(path.read_bytes()[:-1])
    found = plan(recipe)
    assert all(one.run == one.chunks for one in found.sources)


@pytest.mark.parametrize("store", ["store", "elsewhere", "deep/er/store"])
def test_a_plan_writes_nothing(store: str, home: Path) -> None:
    """Whether there is a store or none, every file and folder is as it was, to the nanosecond of its last change."""
    (home / "recipe.yaml").write_text(json.dumps(tiny(home, seed=4) | {"store": store}))
    before = tree(home)
    for arguments in ([], ["--json"]):
        told = CliRunner().invoke(cli, ["build", str(home / "recipe.yaml"), "--plan", *arguments])
        assert told.exit_code == 0, told.output
    assert tree(home) == before


def test_a_plan_needs_no_right_to_write(home: Path) -> None:
    """In folders that nobody may write to, a plan is made all the same."""
    for folder in [home, *(path for path in home.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    try:
        assert plan(tiny(home, seed=4)).version is None
    finally:
        for folder in [home, *(path for path in home.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)


def test_a_plan_works_on_a_read_only_disk(built: Path, tmp_path: Path) -> None:
    """Inputs and store on a disk that is mounted read-only: the plan and its sample are made all the same."""
    with small_disk(tmp_path / "disk", 40_000_000) as disk:
        home = Path(shutil.copytree(built, disk / "home"))
        set_writable(disk, False)
        found = plan(tiny(home, clean={"entities": False}), sample=5, workers=1)
    assert found.version is None and found.sample is not None and all(one.run for one in found.sources)


def test_the_json_of_a_plan_is_what_its_schema_says(home: Path) -> None:
    """`--plan --json` prints one object, and it is valid under the published schema."""
    (home / "recipe.yaml").write_text(json.dumps(tiny(home, seed=4)))
    told = CliRunner().invoke(cli, ["build", str(home / "recipe.yaml"), "--plan", "--json"])
    content = json.loads(told.stdout)
    jsonschema.validate(content, published()["plan"], cls=jsonschema.Draft202012Validator)
    assert content["stages"][2]["because"][0] == {"why": "setting", "what": "seed", "before": "3", "now": "4"}
    refused = CliRunner().invoke(cli, ["build", str(home / "recipe.yaml"), "--plan", "--max-rejected", "3"])
    assert refused.exit_code == 2 and "--max-rejected" in refused.output


def test_a_salt_is_told_by_nothing(home: Path) -> None:
    """A changed salt is told without either salt, and no file of the store holds one."""
    salted = {"pii": {"email": "hash"}, "pii_salt": "first secret of mine"}
    build(tiny(home, clean=salted), workers=1)
    found = plan(tiny(home, clean=salted | {"pii_salt": "second secret of mine"}))
    assert reasons_of(found)["prose"] == {("setting", "clean.pii_salt")}
    written = b"".join(path.read_bytes() for path in (home / "store").rglob("*") if path.is_file())
    assert b"secret of mine" not in written and "secret of mine" not in found.model_dump_json()


def test_a_build_without_room_is_refused_before_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little room: one line with what is needed, what is free and what to do, and no file more than before."""
    write_inputs(tmp_path)
    before = tree(tmp_path)
    monkeypatch.setattr(space, "free_bytes", lambda folder: 100_000)
    with pytest.raises(StoreError, match=r"needs about [\d.]+ kB .*100\.0 kB are free; .*didact gc.*--store.*'limit'"):
        build(tiny(tmp_path), workers=1)
    assert tree(tmp_path) == before
    assert not plan(tiny(tmp_path)).enough_space


def test_what_is_on_file_needs_no_more_room(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is asked for what is yet to be written: results on file are not counted, nor is a version that exists."""
    need = plan(tiny(home, filters=[])).space
    assert need.on_file > 0
    monkeypatch.setattr(space, "free_bytes", lambda folder: need.version + 1)
    build(tiny(home, filters=[]), workers=1)
    monkeypatch.setattr(space, "free_bytes", lambda folder: 0)
    assert build(tiny(home, filters=[]), workers=1).verify() == []
    with pytest.raises(StoreError, match="are free"):
        build(tiny(home, clean={"entities": False}), workers=1)


def test_room_is_reckoned_about_right(tmp_path: Path) -> None:
    """Compressed or not, what a build is said to need is no less than what it writes, and less than three times it."""
    import gzip

    rows = [
        {"instruction": f"Say {n} in words, {n * 7919 % 10007} times, {'and slowly ' * (n % 5)}please.", "input": "",
         "output": " ".join(f"word{n * k % 4093}" for k in range(3, 40))}
        for n in range(4000)
    ]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "a.jsonl").write_bytes(text)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(text))
    for name in ("a.jsonl", "b.jsonl.gz"):
        source = {"path": str(tmp_path / name), "format": "alpaca"}
        recipe: dict[str, Any] = {"name": "room", "store": str(tmp_path / f"s-{name}"), "sources": {"a": source}}
        recipe |= {"tokenizer": None, "split": {"validation": 0, "test": 0}, "dedup": {"minhash": {"threshold": 0.95}}}
        needed = plan(recipe).space.needed
        build(recipe, workers=1)
        written = sum(path.stat().st_size for path in (tmp_path / f"s-{name}").rglob("*") if path.is_file())
        assert written <= needed <= 3 * written


def test_a_small_disk_is_refused_by_its_own_numbers(tmp_path: Path) -> None:
    """On a file system of 400 kB the build is refused by what the system says is free, and leaves it empty."""
    write_inputs(tmp_path)
    with small_disk(tmp_path / "small", 409_600) as small:
        with pytest.raises(StoreError, match=r"409\.6 kB are free"):
            build(tiny(tmp_path), store=small / "store", workers=1)
        assert list(small.iterdir()) == []
