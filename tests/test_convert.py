"""didact convert: a file in its own format stays as it is but for edits; in another, nothing is lost unsaid."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from files_of_rows import PACKED, content_of, json_array, json_lines, json_object, table
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import TEXT
from writable_rows import CASES, rows_of

from didact import convert, read
from didact.cli import cli
from didact.convert.losses import Conversion
from didact.errors import CallError, DataError, NoPlace, WouldLose
from didact.formats.fields import pointer
from didact.formats.registry import adapters, get
from didact.records import Header, Record, Task

WRITABLE = sorted(name for name, adapter in adapters().items() if adapter.write is not None and name in CASES)
ALPACA = [
    {"instruction": "Sort.", "input": "3 1", "output": "1 3"},
    {"instruction": "Say one.", "input": "", "output": "one"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all files of this module; hypothesis overwrites them again and again."""
    return tmp_path_factory.mktemp("convert")


@pytest.fixture(scope="module", autouse=True)
def quick_disk() -> Iterator[None]:
    """No waiting for the disk: that files survive a power cut is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


FEW = settings(max_examples=12)
"""Every format is tried on its own, so few files of each are enough."""


def lines(path: Path, rows: list[Any]) -> Path:
    """The rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def drawn_file(folder: Path, name: str, data: st.DataObject, *, broken: bool) -> Path:
    """A file of a format, in any JSON container, compressed or not."""
    adapter = get(name)
    rows = [data.draw(rows_of(name))[0] for _ in range(data.draw(st.integers(1, 3)))]
    elements = rows if adapter.gather is None else adapter.gather(rows)
    packed = data.draw(st.sampled_from(["", "", ".gz", ".zst"]))
    if adapter.list_key is not None:
        assert adapter.write_header is not None
        head = adapter.write_header(Header(definition=["Do it."]), {}) | {"version": 1.5, "none": None}
        content, ending = data.draw(json_object(elements, head, adapter.list_key)), "json"
    elif data.draw(st.booleans()):
        content, ending = data.draw(json_lines(elements, broken)), "jsonl"
    else:
        content, ending = data.draw(json_array(elements, broken)), "json"
    path = folder / f"given.{ending}{packed}"
    path.write_bytes(PACKED[packed](content))
    return path


def beside(path: Path) -> Path:
    """A name for the result with the same ending, free to be written."""
    return path.with_name(path.name.replace("given", "made"))


@pytest.mark.parametrize("name", WRITABLE)
@FEW
@given(data=st.data())
def test_a_file_in_its_own_format_stays_as_it_is(folder: Path, name: str, data: st.DataObject) -> None:
    """Unknown keys, null and absent values, key order, spellings, duplicate keys, unreadable rows: byte for byte."""
    path = drawn_file(folder, name, data, broken=True)
    report = convert(path, beside(path), to=name, format=name, overwrite=True)
    assert content_of(beside(path)) == content_of(path)
    assert (report.losing, report.left_out, report.changed) == (0, 0, 0)
    assert report.records == report.written


@pytest.mark.parametrize("name", WRITABLE)
@FEW
@given(data=st.data())
def test_one_edit_changes_one_place(folder: Path, name: str, data: st.DataObject) -> None:
    """After one text of one record is edited, the files have all before and behind the record's row in common, and
    the record reads as edited.
    """
    path = drawn_file(folder, name, data, broken=False)
    before = unchecked(path, name)
    at = data.draw(st.integers(0, len(before) - 1)) if before else 0
    seen = iter(range(len(before)))
    made: list[Record] = []

    def edit(record: Record) -> Record:
        texts = [text.text for text in record.texts()]
        if next(seen) == at and texts and texts[-1]:
            record = record.with_texts([*texts[:-1], f"{texts[-1]} edited"])
            made.append(record)
        return record

    try:
        report = convert(path, beside(path), to=name, format=name, overwrite=True, edit=edit)
    except NoPlace as refusal:
        assert name == "bbh"  # an output that is no longer among the choices
        assert "choices" in refusal.message
        return
    assert report.changed == len(made)
    old, new = content_of(path), content_of(beside(path))
    if not made:
        assert new == old
    elif get(name).unfold is None:
        places = _row_places(path, name)
        start, end = places[at]
        assert new.startswith(old[:start])
        assert new.endswith(old[end:])
        assert _texts(made[0]) in map(_texts, unchecked(beside(path), name))


def _row_places(path: Path, name: str) -> list[tuple[int, int]]:
    """Where the rows of a file stand, found by the JSON scanner of the standard library."""
    text = content_of(path).decode("latin-1")
    place = text.index(f'"{get(name).list_key}"') if get(name).list_key is not None else 0
    if get(name).list_key is not None or path.name.startswith("given.json."):
        place = text.index("[", place) + 1
    elif text.lstrip("\xef\xbb\xbf \t\r\n").startswith("["):
        place = text.index("[") + 1
    places = []
    while (start := text.find("{", place)) >= 0:
        _, place = json.JSONDecoder(strict=False).raw_decode(text, start)
        places.append((start, place))
        rest = text[place:].lstrip()
        if rest.startswith("]"):
            break
    return places


@pytest.mark.parametrize("name", WRITABLE)
@FEW
@given(data=st.data())
def test_what_is_not_told_as_lost_is_not_lost(folder: Path, name: str, data: st.DataObject) -> None:
    """Into any format and container: all records are accounted for, and a conversion that reports no loss can be
    taken back: the records are the same, unless the way back says what it loses.
    """
    path = drawn_file(folder, name, data, broken=True)
    to = data.draw(st.sampled_from(WRITABLE))
    ending = data.draw(st.sampled_from(["jsonl", "json", "csv", "tsv.gz", "parquet", "arrow"]))
    ending = "json" if get(to).list_key is not None else ending
    target = folder / f"other.{ending}"
    target.unlink(missing_ok=True)
    try:
        report = convert(path, target, to=to, format=name, allow_loss=True)
    except DataError:
        assert not target.exists()  # columns of one type, or one object, cannot hold what the rows hold
        return
    assert report.records == report.written + report.left_out
    assert report.losing <= report.records
    assert report.written - sum(report.copied.values()) == len(unchecked(target, to))
    if report.lossless and set(get(name).kinds) & set(get(to).kinds):
        back = folder / "back.json" if get(name).list_key is not None else folder / "back.jsonl"
        returned = convert(target, back, to=name, format=to, allow_loss=True, overwrite=True)
        if not returned.lossless:
            return  # told: a new row of the first format need not hold all that its author's row did
        for one, other in zip(unchecked(path, name), unchecked(back, name), strict=True):
            assert _texts(one) == _texts(other)


def unchecked(path: Path, name: str) -> list[Record]:
    """The records of a file, also those that validation would reject."""
    found: list[Record] = []
    convert(path, to=name, format=name, allow_loss=True, edit=lambda record: found.append(record) or record)  # type: ignore[func-returns-value]
    return found


def _texts(record: Record) -> list[str]:
    return [text.text for text in record.texts() if text.text]


@given(
    rows=st.lists(st.fixed_dictionaries({"instruction": TEXT, "output": TEXT}), min_size=1, max_size=4), data=st.data()
)
def test_a_table_in_its_own_format_stays_as_it_is(
    folder: Path, rows: list[dict[str, str]], data: st.DataObject
) -> None:
    """CSV: quotes, line ends, blank lines and rows with a cell too many, byte for byte."""
    path = folder / "given.csv"
    path.write_bytes(data.draw(table(rows, broken=True)))
    convert(path, beside(path), to="alpaca", format="alpaca", overwrite=True)
    assert beside(path).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("unit", ["paragraphs", "line", "file"])
@given(text=st.text(st.sampled_from("ab \n\r\té"), min_size=1), marked=st.booleans())
def test_plain_text_stays_as_it_is(folder: Path, unit: Any, text: str, marked: bool) -> None:
    """By paragraphs, lines or as one file: every byte, blank lines too."""
    path = folder / "given.txt"
    path.write_bytes(b"\xef\xbb\xbf" * marked + text.encode())
    convert(path, beside(path), to="text", format="text", unit=unit, overwrite=True)
    assert beside(path).read_bytes() == path.read_bytes()


def test_columns_of_the_author_keep_their_names(tmp_path: Path) -> None:
    """With mapped columns an edit changes the author's key; other formats get their own."""
    path = lines(tmp_path / "a.jsonl", [{"reply": "b", "query": "a", "n": 1}])
    columns = {"prompt": "query", "response": "reply"}

    def edit(record: Record) -> Record:
        return record.with_texts([*[text.text for text in record.texts()][:-1], "c"])

    convert(path, tmp_path / "b.jsonl", to="prompt_completion", format="prompt_completion", columns=columns, edit=edit)
    assert (tmp_path / "b.jsonl").read_text() == '{"reply": "c", "query": "a", "n": 1}\n'
    made = convert(path, to="alpaca", format="prompt_completion", columns=columns)
    assert made.rows == [{"instruction": "a", "input": "", "output": "b", "n": 1}]


def test_an_edit_reaches_values_inside_a_row(tmp_path: Path) -> None:
    """A column that is a path inside the row is changed there."""
    path = lines(tmp_path / "a.jsonl", [{"data": {"q": "a", "n": [1]}, "reply": "b"}])
    columns = {"prompt": "data/q", "response": "reply"}
    convert(
        path,
        tmp_path / "b.jsonl",
        to="prompt_completion",
        format="prompt_completion",
        columns=columns,
        edit=lambda record: record.with_texts(["c", "", "d"]),
    )
    assert (tmp_path / "b.jsonl").read_text() == '{"data": {"q": "c", "n": [1]}, "reply": "d"}\n'


def test_a_table_without_names_stays_without_them(tmp_path: Path) -> None:
    """Columns named by the caller are not written into the file; in another format they are keys."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\nc,d\n")
    names = ["instruction", "output"]
    convert(path, tmp_path / "b.csv", to="alpaca", format="alpaca", names=names)
    assert (tmp_path / "b.csv").read_text() == path.read_text()
    made = convert(path, to="dolly", format="alpaca", names=names).rows
    assert [row["response"] for row in made] == ["b", "d"]


def test_numbers_of_many_digits_are_not_rounded_unsaid(tmp_path: Path) -> None:
    """A whole number of more than 64 bits keeps its digits in its own format, and is told as lost elsewhere."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"instruction": "a", "output": "b", "n": 340282366920938463463374607431768211456, "m": 1e300}\n')
    assert convert(path, tmp_path / "b.json", to="alpaca").lossless
    assert "340282366920938463463374607431768211456" in (tmp_path / "b.json").read_text()
    with pytest.raises(WouldLose, match="more than 64 bits"):
        convert(path, to="dolly")


def test_long_cells_do_not_hide_the_quotes(tmp_path: Path) -> None:
    """A TSV file whose quoted cells run past what is looked at to tell quotes reads back the same."""
    rows = [{"instruction": "say", "output": "line\n" * 40_000}, {"instruction": "x", "output": 'a\t"b"'}]
    assert convert(lines(tmp_path / "a.jsonl", rows), tmp_path / "b.tsv", to="alpaca").lossless
    assert [record.texts()[-1].text for record in read(tmp_path / "b.tsv", "alpaca")] == [row["output"] for row in rows]


def test_a_refusal_writes_nothing(tmp_path: Path) -> None:
    """What would be lost is told with its number, reason and first place, and no file is left behind."""
    path = lines(tmp_path / "a.jsonl", [*ALPACA, ALPACA[0], {"output": "lonely"}])
    with pytest.raises(WouldLose, match=r"3 of 4 records would lose") as refusal:
        convert(path, tmp_path / "b.jsonl", to="prompt_completion", format="alpaca")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.jsonl"]
    report: Conversion = refusal.value.report
    assert [(kind.pointer, kind.records, kind.first, kind.left_out) for kind in report.losses] == [
        ("/definition", 2, "a.jsonl:1", False),
        ("/input", 2, "a.jsonl:1", False),
        ("", 1, "a.jsonl:4", True),
    ]
    assert "joined with other text" in report.losses[0].why
    assert "SC001" in report.losses[2].why


def test_indices_are_told_as_one(tmp_path: Path) -> None:
    """The same loss at many places of many records is one line of the report."""
    rows = [{"input": "say", "target": ["a", "b", "c", "d"]}] * 3
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"canary": "x", "examples": rows}))
    with pytest.raises(WouldLose) as refusal:
        convert(path, tmp_path / "b.jsonl", to="qa", format="bbh")
    assert len([kind for kind in refusal.value.report.losses if "*" in kind.pointer]) <= 1
    assert all("/0" not in kind.pointer for kind in refusal.value.report.losses)


def test_allowed_loss_is_written_and_told(tmp_path: Path) -> None:
    """With the loss allowed the rest is written, and the report says the same."""
    path = lines(tmp_path / "a.jsonl", ALPACA)
    report = convert(path, tmp_path / "b.jsonl", to="prompt_completion", allow_loss=True)
    assert (report.records, report.written, report.losing) == (2, 2, 1)
    assert [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()] == [
        {"prompt": "Sort.\n\n3 1", "completion": "1 3"},
        {"prompt": "Say one.", "completion": "one"},
    ]


def test_an_interrupted_conversion_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the middle: the file that stood there stands there still, and nothing lies beside it."""
    path = lines(tmp_path / "a.jsonl", ALPACA)
    (tmp_path / "b.csv").write_text("older")

    def stop(record: Record) -> Record:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(path, tmp_path / "b.csv", to="dolly", overwrite=True, edit=stop)
    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path, tmp_path.with_name("folder"), to="alpaca", edit=stop, format="alpaca")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.jsonl", "b.csv"]
    assert (tmp_path / "b.csv").read_text() == "older"
    assert not tmp_path.with_name("folder").exists()


def test_what_is_read_is_never_overwritten(tmp_path: Path) -> None:
    """OUT that is IN, lies around it, or exists is refused, the last one unless it may be replaced."""
    path = lines(tmp_path / "a.jsonl", ALPACA)
    for out in (path, tmp_path):
        with pytest.raises(CallError, match="is what is read"):
            convert(path, out, to="dolly", overwrite=True)
    lines(tmp_path / "b.jsonl", [])
    with pytest.raises(CallError, match="--overwrite"):
        convert(path, tmp_path / "b.jsonl", to="dolly")
    convert(path, tmp_path / "b.jsonl", to="dolly", overwrite=True)
    assert (tmp_path / "b.jsonl").read_bytes()


def test_a_folder_becomes_a_folder(tmp_path: Path) -> None:
    """Every file is written under its own name, in its own container and compression."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    lines(tmp_path / "in" / "a.jsonl", ALPACA)
    (tmp_path / "in" / "deep" / "b.json.gz").write_bytes(PACKED[".gz"](json.dumps(ALPACA).encode()))
    report = convert(tmp_path / "in", tmp_path / "out", to="dolly", format="alpaca")
    assert [file["written"] for file in report.files] == ["a.jsonl", "b.json.gz"]
    assert json.loads(content_of(tmp_path / "out" / "deep" / "b.json.gz"))[0]["context"] == "3 1"
    assert len((tmp_path / "out" / "a.jsonl").read_text().splitlines()) == 2
    shutil.rmtree(tmp_path / "out")


def test_definitions_become_task_files(tmp_path: Path) -> None:
    """Records of several tasks become a file for each; for a single file that is refused."""
    path = lines(tmp_path / "a.jsonl", [*ALPACA, {"instruction": "Sort.", "input": "5 4", "output": "4 5"}])
    with pytest.raises(DataError, match="make 2"):
        convert(path, tmp_path / "b.json", to="sni", allow_loss=True)
    report = convert(path, tmp_path / "tasks", to="sni")
    assert report.lossless
    made = [json.loads(file.read_text()) for file in (tmp_path / "tasks").iterdir()]
    assert sorted((task["Definition"], len(task["Instances"])) for task in made) == [(["Say one."], 1), (["Sort."], 2)]


def test_a_table_holds_texts_alone(tmp_path: Path) -> None:
    """A number or a list in a cell is a loss; a Parquet file holds both."""
    path = lines(tmp_path / "a.jsonl", [{"instruction": "a", "output": "b", "n": 1, "tags": ["x"]}])
    with pytest.raises(WouldLose) as refusal:
        convert(path, tmp_path / "b.csv", to="alpaca")
    assert {kind.pointer: kind.why for kind in refusal.value.report.losses} == {
        "/n": "a table holds nothing but texts",
        "/tags": "a list has no place in a cell",
    }
    assert convert(path, tmp_path / "b.parquet", to="alpaca").lossless
    assert pq.read_table(tmp_path / "b.parquet").to_pylist() == [
        {"instruction": "a", "output": "b", "n": 1, "tags": ["x"]}
    ]


def test_a_column_has_one_type(tmp_path: Path) -> None:
    """Values of two types under one key cannot be a column, and the place of the second is told."""
    path = lines(tmp_path / "a.jsonl", [{"instruction": "a", "output": "b", "n": value} for value in (1, "x")])
    with pytest.raises(DataError, match=r"a\.jsonl:2: '/n'"):
        convert(path, tmp_path / "b.parquet", to="alpaca")


def test_a_damaged_file_is_not_quietly_shortened(tmp_path: Path) -> None:
    """What a damaged stream held behind the damage cannot be copied; that is a loss, even in the own format."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(PACKED[".gz"](b"".join(json.dumps(ALPACA[i % 2]).encode() + b"\n" for i in range(3000)))[:-30])
    with pytest.raises(WouldLose, match="damaged"):
        convert(path, tmp_path / "b.jsonl.gz", to="alpaca")
    assert convert(path, tmp_path / "b.jsonl.gz", to="alpaca", allow_loss=True).losing == 1


def test_records_remember_their_rows(tmp_path: Path) -> None:
    """Records read with their rows and edited in Python keep key order, unknown keys and spellings when written."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"score": 1.50, "output": "b", "instruction": "a",  "input": null}\n' * 2)
    records = list(read(path, keep_rows=True))
    assert isinstance(records[1], Task)
    records[1].outputs[0] = "c"
    assert convert(records, tmp_path / "b.jsonl", to="alpaca").lossless
    assert (tmp_path / "b.jsonl").read_text() == path.read_text().replace('"b"', '"b"', 1)[
        : len(path.read_text()) // 2
    ] + ('{"score": 1.50, "output": "c", "instruction": "a",  "input": null}\n')
    assert all(record.origin is not None and record.origin.row is None for record in read(path))


def test_rows_in_memory_are_converted() -> None:
    """Dicts, an iterator of them, records and a data frame give the same rows."""
    expected = [
        {"instruction": row["instruction"], "context": row["input"], "response": row["output"]} for row in ALPACA
    ]
    records = [Task(definition=row["instruction"], input=row["input"], outputs=[row["output"]]) for row in ALPACA]
    for given_rows in (ALPACA, iter(ALPACA), pd.DataFrame(ALPACA), records):
        assert convert(given_rows, to="dolly").rows == expected
    missing = pd.DataFrame([{**ALPACA[0], "n": 1.0}, {**ALPACA[1], "n": None}])
    assert [row.get("n") for row in convert(missing, to="alpaca").rows] == [1.0, None]
    with pytest.raises(CallError, match="neither a path nor rows"):
        convert(5, to="dolly")


def test_a_data_set_of_the_library_is_converted() -> None:
    """A `datasets.Dataset` is rows like others."""
    from datasets import Dataset

    assert len(convert(Dataset.from_list(ALPACA), to="dolly").rows) == 2


def run(*arguments: str) -> Any:
    """The command's result."""
    return CliRunner().invoke(cli, ["convert", *arguments])


def test_the_command_converts(tmp_path: Path) -> None:
    """Exit 0 and a line of counts; the file is there."""
    path = lines(tmp_path / "a.jsonl", ALPACA)
    result = run(str(path), str(tmp_path / "b.csv"), "--to", "dolly")
    assert result.exit_code == 0
    assert "2 records: 2 written" in result.stdout
    assert (tmp_path / "b.csv").read_text() == "instruction,context,response\nSort.,3 1,1 3\nSay one.,,one\n"


def test_the_command_refuses_with_a_report(tmp_path: Path) -> None:
    """Exit 1, the report on stdout and in the file asked for, the reason on stderr; exit 2 for a wrong call."""
    path = lines(tmp_path / "a.jsonl", ALPACA)
    told = tmp_path / "losses.json"
    result = run(str(path), str(tmp_path / "b.jsonl"), "--to", "prompt_completion", "--json", "--losses", str(told))
    assert result.exit_code == 1
    assert json.loads(result.stdout) == json.loads(told.read_text())
    assert json.loads(result.stdout)["losses"][0]["pointer"] == "/definition"
    assert "nothing was written" in result.stderr
    assert not (tmp_path / "b.jsonl").exists()
    assert "/definition" in run(str(path), str(tmp_path / "b.jsonl"), "--to", "prompt_completion").stdout
    assert run(str(path), str(tmp_path / "b.jsonl"), "--to", "nothing").exit_code == 2
    assert run(str(path), str(tmp_path / "b.jsonl"), "--to", "dolly", "--columns", "a").exit_code == 2


def test_rows_that_cannot_be_read_are_copied_and_told(tmp_path: Path) -> None:
    """In the own format the command copies them as they are and says so on stderr."""
    path = lines(tmp_path / "a.jsonl", ALPACA)
    path.write_text(path.read_text() + '{"broken\n')
    result = run(str(path), str(tmp_path / "b.jsonl"), "--to", "alpaca")
    assert result.exit_code == 0
    assert "1 rows with JS001" in result.stderr
    assert (tmp_path / "b.jsonl").read_bytes() == path.read_bytes()


def test_pointers_are_escaped_as_the_standard_says() -> None:
    """Keys of the author's row in a report are JSON pointers."""
    row = {"instruction": "a", "output": "b", "a/b~": [1]}
    with pytest.raises(WouldLose) as refusal:
        convert([row], Path("never.csv"), to="alpaca")
    assert [kind.pointer for kind in refusal.value.report.losses] == [pointer("a/b~")]
    assert not Path("never.csv").exists()
