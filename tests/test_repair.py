"""`validate --fix`: what can be corrected safely is, each change is logged, and everything else stays byte for byte."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from didact.cli import cli
from didact.errors import CallError
from didact.recipe.sources import Source
from didact.records.findings import CODES, Finding
from didact.repair.cells import edited_cells
from didact.repair.files import Repaired, repair
from didact.repair.fixes import FIXES, Fix
from didact.repair.rows import repaired_row
from didact.sources.blocks import Block, SourceFile
from didact.sources.cutting import read_blocks
from didact.sources.delimited import cells_of
from didact.sources.read import read_block
from didact.validate import validate

DIRTY = Path(__file__).parent.parent / "sample_data" / "dirty"


def call(*arguments: object) -> Result:
    """Run `didact validate` in this process."""
    return CliRunner().invoke(cli, ["validate", *map(str, arguments)], prog_name="didact")


def log_of(done: Repaired) -> list[dict[str, Any]]:
    """The patch log's entries."""
    return [json.loads(line) for line in done.log.read_bytes().splitlines()]


def content(path: Path) -> bytes:
    """A file's bytes, decompressed."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_fixed_codes_are_gone_and_nothing_else_changes(tmp_path: Path) -> None:
    """Over all sample files: after the repair only fixable findings are missing, and no verdict is worse."""
    done = repair(DIRTY, tmp_path / "out")
    before, after = validate(DIRTY), validate(tmp_path / "out")
    assert done.changes and after.findings.keys().isdisjoint(FIXES)
    assert before.findings - after.findings == done.changes and not after.findings - before.findings
    counts = [[(file.path, file.records, file.valid) for file in report.files] for report in (before, after)]
    assert counts[0] == counts[1]


def test_only_logged_rows_differ(tmp_path: Path) -> None:
    """Putting back what the log says was there before gives the original files, byte for byte."""
    done = repair(DIRTY, tmp_path / "out")
    touched = {entry["path"] for entry in log_of(done)}
    for path in DIRTY.iterdir():
        same = path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()
        assert same == (path.name not in touched), path.name
    for name in touched:
        original, fixed = (folder.joinpath(name).read_bytes().split(b"\n") for folder in (DIRTY, tmp_path / "out"))
        lines = [entry["line"] for entry in log_of(done) if entry["path"] == name]
        differing = [i + 1 for i, pair in enumerate(zip(original, fixed, strict=True)) if pair[0] != pair[1]]
        assert len(differing) <= len(lines) and all(min(abs(i - line) for line in lines) <= 1 for i in differing)


def test_a_row_keeps_its_spelling(tmp_path: Path) -> None:
    """Key order, spaces, number spellings, escapes and duplicate keys of a repaired row stay as they were."""
    row = (
        '{"n":1.50e0,  "output" : 12.50, "instruction":"\\u0041dd \\/", "x": 1, "x": 2, "input":"<noinput>" , "z":[ ]}'
    )
    (tmp_path / "a.jsonl").write_text(f"{row}\r\n\n  {row}", newline="")
    done = repair(tmp_path / "a.jsonl", tmp_path / "b.jsonl", "alpaca")
    fixed = row.replace('"<noinput>"', '""').replace("12.50", '"12.5"')
    assert (tmp_path / "b.jsonl").read_bytes().decode() == f"{fixed}\r\n\n  {fixed}"
    assert [(e["line"], e["index"], e["pointer"], e["before"], e["after"]) for e in log_of(done)] == [
        (line, index, *change)
        for index, line in enumerate((1, 3))
        for change in (("/input", "<noinput>", ""), ("/output", 12.5, "12.5"))
    ]


def test_a_whole_number_keeps_its_digits(tmp_path: Path) -> None:
    """One that no machine word holds is spelt and logged as it was written."""
    number = "1" + "0" * 30 + "1"
    (tmp_path / "a.jsonl").write_text(f'{{"instruction":"Add 1.","input":-{number},"output":{number}}}\n')
    done = repair(tmp_path / "a.jsonl", tmp_path / "b.jsonl", "alpaca")
    expected = {"instruction": "Add 1.", "input": f"-{number}", "output": number}
    assert json.loads((tmp_path / "b.jsonl").read_bytes()) == expected
    assert [(entry["before"], entry["after"]) for entry in log_of(done)] == [
        (-int(number), f"-{number}"),
        (int(number), number),
    ]


def test_arrays_keep_their_layout_and_lose_stray_commas(tmp_path: Path) -> None:
    """A JSON array stays one; commas that no element follows go, whatever stands around them."""
    row, second, third = (f'{{"instruction": "a{i}", "input": "", "output": "b,"}}' for i in range(3))
    broken = f"\ufeff[ ,\n {row},,\n\t{second} ,\n {third}\n,  \n ]\n"
    (tmp_path / "a.json").write_text(broken, encoding="utf-8")
    done = repair(tmp_path / "a.json", tmp_path / "b.json", "alpaca")
    fixed = (tmp_path / "b.json").read_text(encoding="utf-8")
    assert len(json.loads(fixed)) == 3 and fixed == f"[ \n {row},\n\t{second} ,\n {third}\n  \n ]\n"
    assert validate(tmp_path / "b.json").clean(strict=True)
    assert done.changes == {"IO003": 1, "JS008": 3}


@pytest.mark.parametrize("size", [7, 64, 1 << 20])
def test_commas_are_found_across_pieces(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the copy is cut into pieces does not matter."""
    monkeypatch.setattr("didact.repair.files._PIECE", size)
    monkeypatch.setattr("didact.repair.files._BLOCK_BYTES", 40)
    row = '{"instruction": "a", "input": "none", "output": "b"}'
    (tmp_path / "a.json").write_text(f"[{row},{row}, ]")
    repair(tmp_path / "a.json", tmp_path / "b.json", "alpaca")
    fixed = row.replace("none", "")
    assert (tmp_path / "b.json").read_text() == f"[{fixed},{fixed} ]"


def test_rejected_rows_are_copied(tmp_path: Path) -> None:
    """A row that no fix makes valid stays as it is, with its other findings; so does one that is no JSON."""
    rows = ['{"instruction": ["x"], "input": "n/a", "output": 5}', "{broken", '"text"']
    (tmp_path / "a.jsonl").write_text("\n".join(rows) + "\n")
    done = repair(tmp_path / "a.jsonl", tmp_path / "b.jsonl", "alpaca")
    assert (tmp_path / "b.jsonl").read_bytes() == (tmp_path / "a.jsonl").read_bytes()
    assert not done.changes and done.log.read_bytes() == b""
    assert "Fixed nothing" in done.told()


def test_a_fix_that_makes_things_worse_is_not_made(tmp_path: Path) -> None:
    """A change that would bring a finding which was not there is left out."""
    row = json.dumps({"instruction": "a", "input": "none", "output": "b"})
    (tmp_path / "a.jsonl").write_text(row + "\n")
    for name, worse in (("rejects", ["none"]), ("warns", 5)):
        wrong = {"CO003": Fix(name, "value", lambda _, worse=worse: worse)}
        assert not repair(tmp_path / "a.jsonl", tmp_path / f"{name}.jsonl", "alpaca", fixes=wrong).changes
        assert (tmp_path / f"{name}.jsonl").read_text() == row + "\n"


def test_a_fix_of_texts_reaches_every_text_of_its_row(tmp_path: Path) -> None:
    """Texts the record does not have are fixed too, those of rows without the finding are not; keys stay."""
    row = {"instruction": "a", "input": "none", "output": "b", "more/~": [{"k": "c"}, 1, None]}
    other = row | {"input": ""}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(other)}\n")
    upper = {"CO003": Fix("upper", "texts", str.upper)}
    done = repair(tmp_path / "a.jsonl", tmp_path / "b.jsonl", "alpaca", fixes=upper)
    first, second = map(json.loads, (tmp_path / "b.jsonl").read_text().splitlines())
    assert first == {"instruction": "A", "input": "NONE", "output": "B", "more/~": [{"k": "C"}, 1, None]}
    assert second == other
    pointers = [entry["pointer"] for entry in log_of(done)]
    assert pointers == ["/instruction", "/input", "/output", "/more~1~0/0/k"]


_SAID = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}
_TOLD = {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes"}
_B = {"from": "system", "value": "Be brief."}
_EMOJI = "\U0001f469\u200d\U0001f52c"
_TALK = {"messages": [{"role": "system", "content": "Be brief."}] * 2 + list(_SAID)}


@pytest.mark.parametrize(
    ("format", "row", "code", "pointer", "expected"),
    [
        ("alpaca", {"input": None}, "SC005", "/input", {"input": ""}),
        ("alpaca", {"input": True}, "SC003", "/input", {"input": "true"}),
        ("alpaca", {"input": "N/A"}, "CO003", "/input", {"input": ""}),
        ("openai", {"messages": json.dumps(_SAID)}, "JS005", "/messages", {"messages": list(_SAID)}),
        ("openai", _TALK, "RO007", "/messages/1", {"messages": _TALK["messages"][1:]}),
        ("openai", {"messages": list(_SAID)}, "RO007", "/messages/1", {"messages": list(_SAID)}),
        ("sharegpt", {"conversations": [_B, _B, *_TOLD]}, "RO007", "/messages/1", {"conversations": [_B, *_TOLD]}),
        ("alpaca", {"input": "a\x07\u2028b\r\n"}, "UN001", "/input", {"input": "a\nb\r\n"}),
        ("alpaca", {"input": "crÃ¨me"}, "UN002", "/input", {"input": "crème"}),
        (
            "alpaca",
            {"input": f"a\u200bb\u202e {_EMOJI}"},
            "UN004",
            "/input",
            {"input": f"ab {_EMOJI}"},
        ),
        ("alpaca", {"input": "cafe\u0301"}, "UN005", "/input", {"input": "café"}),
        ("alpaca", {"input": "1. a\\n2. b\\n"}, "CO011", "/input", {"input": "1. a\n2. b\n"}),
        ("alpaca", {"input": "R&amp;B"}, "CO012", "/input", {"input": "R&B"}),
    ],
)
def test_each_fix_mends_what_its_code_reports(
    format: str, row: dict[str, Any], code: str, pointer: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    """One row for each code with a fix: the value at the pointer is mended, and what does not fit stays."""
    if format == "alpaca":
        row = {"instruction": "Do it.", "output": "Done."} | row
        expected = {"instruction": "Do it.", "output": "Done."} | expected
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    file = SourceFile("s", tmp_path / "a.jsonl", "a.jsonl", "jsonl", format)
    (block,) = read_blocks(file)
    assert isinstance(block, Block)
    source = Source(path="a.jsonl")
    # A finding of its own lets the fix be tried whether or not the reader reports this code today.
    there = [*read_block(block, file, source).findings]
    found = [one for one in there if one.severity == "warning"] + [Finding(code, "a.jsonl", 0, 1, 0, pointer, "")]
    fixed, changes = repaired_row(block, 0, found, file, source, {code: FIXES[code]})
    assert json.loads(fixed) == expected
    assert {change.code for change in changes} == ({code} if expected != row else set())


def test_every_fix_of_the_catalogue_exists() -> None:
    """No code promises a fix that nothing makes."""
    assert FIXES.keys() == {entry.code for entry in CODES.values() if entry.fix}
    assert all(FIXES[entry.code].name == entry.fix for entry in CODES.values() if entry.fix)


def test_tables_keep_their_dialect(tmp_path: Path) -> None:
    """Quotes, line ends and blank lines of a CSV stay; the repaired cell is written as the one it replaces."""
    table = b'instruction,input,output\r\n"a, ""b""",noinput,c\r\n\r\n"two\nlines","N/A","d"\r\nx,y,z'
    (tmp_path / "a.csv").write_bytes(table)
    done = repair(tmp_path / "a.csv", tmp_path / "b.csv", "alpaca")
    assert (tmp_path / "b.csv").read_bytes() == table.replace(b"noinput", b"").replace(b'"N/A"', b'""')
    assert [(entry["line"], entry["pointer"]) for entry in log_of(done)] == [(2, "/input"), (4, "/input")]


_CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.lists(_CELL, min_size=1, max_size=4), st.data(), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_edited_cells_read_as_asked(was: list[str], data: st.DataObject, quoting: Any) -> None:
    """For any cells: the edited row reads as the new cells, by the standard library's reader, or stays as it was."""
    new = [data.draw(st.just(cell) | _CELL) for cell in was]
    out = io.StringIO(newline="")
    csv.writer(out, quoting=quoting).writerow(was)
    raw = out.getvalue().removesuffix("\r\n").encode()
    made = edited_cells(raw, ",", True, was, new)
    assert made == raw if new == was else True
    if any(new) or len(new) > 1:
        assert cells_of(made.decode(), ",", True, 1 << 20) == new
    tabs = "\t".join(was)
    if not any(symbol in cell for cell in was for symbol in "\t\r\n"):
        made = edited_cells(tabs.encode(), "\t", False, was, new)
        assert made in ("\t".join(new).encode(), tabs.encode())


def test_compressed_files_stay_compressed(tmp_path: Path) -> None:
    """A .gz is written as a .gz, the same twice; one without a change is copied as it is; OUT's name decides."""
    good, odd = ({"instruction": "a", "input": given, "output": "b"} for given in ("", "none"))
    folder = tmp_path / "in"
    folder.mkdir()
    for name, row in (("good.jsonl.gz", good), ("odd.jsonl.gz", odd)):
        (folder / name).write_bytes(gzip.compress(json.dumps(row).encode() + b"\n", mtime=7))
    for out in ("x", "y"):
        assert repair(folder, tmp_path / out, "alpaca").files == 1
    assert (tmp_path / "x" / "good.jsonl.gz").read_bytes() == (folder / "good.jsonl.gz").read_bytes()
    assert (tmp_path / "x" / "odd.jsonl.gz").read_bytes() == (tmp_path / "y" / "odd.jsonl.gz").read_bytes()
    assert (tmp_path / "x" / "odd.jsonl.gz").read_bytes()[4:8] == bytes(4), "the clock is not written into it"
    assert json.loads(content(tmp_path / "x" / "odd.jsonl.gz")) == good
    for suffix in ("", ".gz", ".zst", ".bz2", ".xz"):
        one = tmp_path / f"one.jsonl{suffix}"
        repair(folder / "odd.jsonl.gz", one, "alpaca")
        assert validate(one, "alpaca").as_json()["findings"] == {}


def test_a_damaged_file_is_copied_as_it_is(tmp_path: Path) -> None:
    """What cannot be read to its end is not repaired halfway: its bytes are copied, and the log says nothing of it."""
    row = json.dumps({"instruction": "a", "input": "none", "output": "b"}).encode() + b"\n"
    whole = gzip.compress(b"".join(row.replace(b'"a"', b'"%d"' % i) for i in range(3000)))
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    done = repair(tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz", "alpaca")
    assert (tmp_path / "b.jsonl.gz").read_bytes() == (tmp_path / "a.jsonl.gz").read_bytes()
    assert not done.changes and not log_of(done)


def test_columns_where_and_limit_choose_what_is_fixed(tmp_path: Path) -> None:
    """Mapped keys are fixed under the author's names; rows that are left out are copied."""
    rows = [{"query": n, "reply": "b", "lang": lang} for n, lang in ((1, "en"), (2, "de"), (3, "en"), (4, "en"))]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"prompt": "query", "response": "reply"}
    out = tmp_path / "b.jsonl"
    repair(tmp_path / "a.jsonl", out, "prompt_completion", columns=columns, where={"lang": "en"}, limit=3)
    assert [json.loads(line)["query"] for line in out.read_text().splitlines()] == ["1", 2, "3", 4]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """An OUT that exists, be it an input or a log, and an OUT in no folder are refused before any work."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"instruction": "a", "input": "none", "output": "b"}\n')
    (tmp_path / "c.jsonl.patch.jsonl").write_text("kept")
    for out in (path, tmp_path, tmp_path / "c.jsonl", tmp_path / "no" / "b.jsonl"):
        told = call(path, "--format", "alpaca", "--fix", out)
        assert told.exit_code == 2 and told.stdout == "" and told.stderr.count("\n") == 1, told.output
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.jsonl", "c.jsonl.patch.jsonl"]


def test_columnar_files_are_refused(tmp_path: Path) -> None:
    """Parquet is not rewritten: the call says so and leaves nothing behind."""
    pq.write_table(pa.table({"instruction": ["a"], "input": ["none"], "output": ["b"]}), tmp_path / "a.parquet")
    with pytest.raises(CallError, match="parquet files are not repaired"):
        repair(tmp_path / "a.parquet", tmp_path / "b.parquet", "alpaca")
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]


def test_the_command_tells_what_it_fixed(tmp_path: Path) -> None:
    """--fix keeps the verdict on the input, says what was changed and where, and leaves --json one object."""
    told = call(DIRTY, "--fix", tmp_path / "out")
    assert told.exit_code == 1 and told.stdout.splitlines()[-1].startswith("Fixed in 5 files: CO003 3, CO011 2, ")
    assert (tmp_path / "out.patch.jsonl").is_file()
    again = call(DIRTY, "--fix", tmp_path / "out2", "--json")
    assert json.loads(again.stdout)["findings"]["CO003"] == 3 and "Fixed in 5 files" in again.stderr


def walk(folder: Path) -> Iterator[Path]:
    """All files under a folder."""
    return (path for path in folder.rglob("*") if path.is_file())


def test_folders_keep_their_shape(tmp_path: Path) -> None:
    """Several inputs become the same relative paths under OUT, untouched ones included."""
    for name in ("a/x.jsonl", "a/b/y.jsonl", "z.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            '{"instruction": "a", "input": "none", "output": "b"}\n' if name != "z.txt" else "Some prose.\n"
        )
    repair(tmp_path / "in", tmp_path / "out")
    shapes = [{path.relative_to(tmp_path / side) for path in walk(tmp_path / side)} for side in ("in", "out")]
    assert shapes[0] == shapes[1]
