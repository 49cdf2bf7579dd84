"""What validate tells: a summary for a person, reports for programs, nothing a file can turn against either."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from rich.console import Console

from didact.cli import cli
from didact.records.findings import CODES, Finding
from didact.report.sarif import sarif_log
from didact.report.validation_json import ValidationReport
from didact.report.validation_page import EXAMPLES, validation_page
from didact.report.verdicts import FILES, print_verdicts, share
from didact.text.shown import shortened, visible
from didact.validate import FileVerdict, Report, validate

TESTS = Path(__file__).parent
DIRTY = TESTS.parent / "sample_data" / "dirty"
SCHEMA = json.loads((TESTS.parent / "schemas" / "validation.schema.json").read_bytes())
SARIF = Draft202012Validator(json.loads((TESTS / "sarif" / "sarif-2.1.0.schema.json").read_bytes()))

HOSTILE = "\x1b[2J\x1b]0;owned\x07<script>alert(1)</script>\u202e\x9b31m' onload=\"x"
"""Moves cursors, sets titles, runs scripts, reverses lines: what no report may pass on."""


def call(*arguments: object) -> Result:
    """Run `didact validate` in this process."""
    return CliRunner().invoke(cli, ["validate", *map(str, arguments)], prog_name="didact")


def printed(report: Report, width: int = 100, examples: int = 2) -> list[str]:
    """The summary's lines on a terminal of that width."""
    out = StringIO()
    print_verdicts(report, Console(file=out, width=width, highlight=False), examples=examples)
    return out.getvalue().splitlines()


def write_rows(path: Path, *rows: Any) -> Path:
    """A JSON lines file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def alpaca(**changed: Any) -> dict[str, Any]:
    """A good row but for what is changed."""
    return {"instruction": "Name a river.", "input": "", "output": "The Nile."} | changed


def hostile_folder(folder: Path) -> Path:
    """A file whose name, keys, texts and messages are all hostile."""
    name = HOSTILE.replace("/", "")
    write_rows(
        folder / f"{name}.jsonl",
        alpaca(),
        alpaca(**{HOSTILE: 1, "output": {HOSTILE: HOSTILE}}),
        {"instruction": HOSTILE, HOSTILE: HOSTILE},
        alpaca(instruction=HOSTILE, output=""),
        {"conversations": [{"from": HOSTILE, "value": HOSTILE}]},
    )
    return folder


@pytest.fixture(scope="module")
def dirty() -> Report:
    """The report on the sample files, which have something of everything wrong."""
    return validate(DIRTY)


def test_the_summary_counts_every_file_and_code(dirty: Report) -> None:
    """Each file stands with its counts, each code with its count; the last lines give the totals and a next step."""
    lines = printed(dirty, width=200)
    for file in dirty.files:
        (row,) = [line.split() for line in lines if line.split()[:2] == [file.path, file.format]]
        assert row[2:] == [str(n) for n in (file.records, file.valid, file.rejected, file.findings.total())]
    for code, count in dirty.findings.items():
        (head,) = [line for line in lines if line.startswith(f"{CODES[code].severity} {code} ")]
        assert f"{CODES[code].title}: {count}, " in head
    totals = dirty.as_json()
    counts = f"{totals['valid']} valid, {totals['rejected']} rejected"
    assert lines[-2].startswith(f"{totals['records']} records in {len(dirty.files)} files: {counts}")
    assert lines[-1].startswith("Next: `didact codes ")


def test_the_summary_shows_where_and_what(dirty: Report) -> None:
    """Two places for each code, with line, pointer, message and an excerpt; errors come before warnings."""
    text = "\n".join(printed(dirty, width=200))
    assert 'alpaca_en.json:62 /input: a list where text belongs\n    > ["iron","wool"]' in text
    found = re.findall(r"^(error|warning) \w+", text, re.MULTILINE)
    assert found == sorted(found)
    places = Counter(re.findall(r"^  (\S+):\d+", text, re.MULTILINE))
    assert sum(places.values()) == sum(min(2, count) for count in dirty.findings.values())
    more = "\n".join(printed(validate(DIRTY, max_findings=5), examples=5))
    assert len(re.findall(r"^  \S+:\d+", more, re.MULTILINE)) > sum(places.values())


def test_examples_come_from_different_files(tmp_path: Path) -> None:
    """When a code stands in several files, one file does not fill the examples."""
    for name in "ab":
        write_rows(tmp_path / f"{name}.jsonl", *[alpaca(output="")] * 3)
    text = "\n".join(printed(validate(tmp_path, "alpaca")))
    assert "a.jsonl:1 /" in text and "b.jsonl:1 /" in text and "a.jsonl:2 /" not in text


def test_a_clean_file_is_told_so(tmp_path: Path) -> None:
    """Nothing wrong is said in as many words."""
    lines = printed(validate(write_rows(tmp_path / "good.jsonl", alpaca()), "alpaca"))
    assert lines[-2:] == ["1 record in 1 file: 1 valid, 0 rejected; 0 errors, 0 warnings.", "Nothing is wrong."]


@pytest.mark.parametrize("width", [30, 44, 80, 200])
def test_the_summary_fits_the_terminal(dirty: Report, width: int) -> None:
    """No line is longer than the terminal is wide, and no number is broken over two lines."""
    lines = printed(dirty, width)
    assert max(map(len, lines)) <= width
    rejected = {file.path: file.rejected for file in dirty.files}
    rows = [line for line in lines if re.search(r" \d+ +\d+ +\d+( +\d+)? *$", line)]
    assert len(rows) >= len(rejected)


def many_files(count: int) -> Report:
    """A report on many files, some of which are worse than others."""
    files = [FileVerdict(f"part-{i:05}.jsonl", "alpaca", 100, 100 - i % 7, i % 7) for i in range(count)]
    located = []
    for file in files:
        if file.rejected:
            file.findings["SC001"] = file.rejected
            located.append(Finding("SC001", file.path, 0, 1, 0, "/output", "no field 'output'"))
    return Report(files, located)


def test_a_thousand_files_make_a_short_summary() -> None:
    """Only the worst files are listed, the others counted; nothing grows with the number of files."""
    report = many_files(1000)
    lines = printed(report)
    listed = [line for line in lines if line.lstrip().startswith("part-") and " alpaca " in line]
    assert len(listed) == FILES and all(" 6 " in line for line in listed)
    assert f"and 980 more, with {report.as_json()['rejected'] - 6 * FILES:,} rejected rows among them" in lines
    assert len(lines) < 40 and len(printed(many_files(5000))) == len(lines)


def test_no_control_character_reaches_a_terminal(tmp_path: Path) -> None:
    """Escape sequences in names, keys and texts are spelt out in the summary, in --json and in error lines."""
    hostile_folder(tmp_path)
    for arguments in ((), ("--json",)):
        told = call(tmp_path, "--format", "alpaca", "--max-findings", 9, *arguments)
        assert told.exit_code == 1
        assert all(line.isprintable() for line in told.stdout.split("\n")), arguments
    missing = call(tmp_path / HOSTILE)
    assert missing.exit_code == 2 and all(line.isprintable() for line in missing.stderr.split("\n"))
    assert "owned" in missing.stderr


@given(st.text(max_size=200), st.integers(0, 200), st.integers(8, 90))
def test_excerpts_are_short_and_printable(text: str, around: int, most: int) -> None:
    """Whatever the text, an excerpt is at most so long and moves no cursor; a short text is shown whole."""
    shown = shortened(text, most, around)
    assert len(shown) <= most and shown.isprintable()
    if text.isprintable():
        assert shown.strip("…") in text.replace("…", "") or "…" in text
        if len(text) <= most and around == 0:
            assert shown == text


@given(st.text())
def test_visible_text_says_the_same(text: str) -> None:
    """What is escaped can be read back, and printable text is not touched."""
    shown = visible(text)
    assert shown.isprintable()
    if "\\" not in text:
        assert shown.encode("ascii", "backslashreplace").decode("unicode_escape") == text


def excerpts(path: Path, **options: Any) -> dict[str, str]:
    """The excerpt of each code's first finding."""
    found: dict[str, str] = {}
    for finding in validate(path, **options).located:
        found.setdefault(finding.code, finding.excerpt)
    return found


def test_excerpts_show_what_a_finding_points_at(tmp_path: Path) -> None:
    """The value at the pointer of the row, of the record when the row has none there; the place where JSON breaks."""
    long = "word " * 1000
    (tmp_path / "rows.jsonl").write_bytes(
        b"\n".join(
            [
                json.dumps(alpaca(output=12)).encode(),
                json.dumps(alpaca(input=[long])).encode(),
                b'{"instruction": "' + b"x" * 500 + b'", "input": nul, "output": "y"}',
                b'{"instruction": "caf\xe9", "input": "", "output": "y"}',
            ]
        )
    )
    found = excerpts(tmp_path / "rows.jsonl", format="alpaca")
    assert found["SC003"] == "12"
    assert found["SC002"].startswith('["word word') and found["SC002"].endswith("…") and len(found["SC002"]) == 80
    assert found["JS001"].startswith("…") and 'nul, "output": "y"}' in found["JS001"]
    assert "caf\ufffd" in found["IO002"]
    turns = [{"from": "human", "value": "Hi"}, {"from": "human", "value": "Anyone?"}, {"from": "gpt", "value": "Yes"}]
    told = excerpts(write_rows(tmp_path / "talk.jsonl", {"conversations": turns}))
    assert json.loads(told["RO002"])["parts"] == [{"type": "text", "text": "Anyone?"}]


def test_excerpts_of_csv_and_parquet(tmp_path: Path) -> None:
    """Rows of tables have excerpts as well, whatever the block they are in."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "a.csv").write_text("prompt,completion\nHi,Yes\n,Empty prompt\nodd\n")
    assert excerpts(tmp_path / "a.csv") == {"CO001": "", "CS001": "odd"}
    pq.write_table(pa.table({"prompt": ["a", "b", "c"], "completion": [1, 2, 3]}), tmp_path / "a.parquet")
    located = validate(tmp_path / "a.parquet", max_findings=9).located
    assert [(finding.code, finding.excerpt) for finding in located] == [("SC003", n) for n in "123"]


def test_json_prints_what_the_json_report_holds(tmp_path: Path) -> None:
    """`--json` and `--report FILE.json` are the same object, of the published schema, with the promised keys."""
    told = call(DIRTY, "--json", "--report", tmp_path / "r.json", "--max-findings", 3)
    report = json.loads(told.stdout)
    assert told.exit_code == 1 and json.loads((tmp_path / "r.json").read_bytes()) == report
    Draft202012Validator(SCHEMA).validate(report)
    ValidationReport.model_validate(report)
    assert set(report) == {"files", "records", "valid", "rejected", "findings", "located"}
    assert {key for finding in report["located"] for key in finding} == {
        "code", "severity", "path", "line", "offset", "pointer", "message",
    }  # fmt: skip
    assert report["records"] == report["valid"] + report["rejected"] == sum(file["records"] for file in report["files"])
    assert Counter(finding["code"] for finding in report["located"]) <= Counter(report["findings"])


def test_located_findings_are_where_they_say(tmp_path: Path) -> None:
    """The byte offset of a finding is where its row begins in the file."""
    rows = [alpaca(), alpaca(output=5), alpaca(output="The Po."), alpaca(instruction=["x"])]
    path = write_rows(tmp_path / "rows.jsonl", *rows)
    content = path.read_bytes()
    for finding in json.loads(call(path, "--json").stdout)["located"]:
        row = json.loads(content[finding["offset"] :].split(b"\n")[0])
        assert row == rows[finding["line"] - 1] and row in (rows[1], rows[3])


def checked_sarif(report: Report, documentation: str | None = None) -> Any:
    """The report's SARIF run, valid under the standard's schema."""
    log = json.loads(json.dumps(sarif_log(report, documentation)))
    assert [error.message for error in SARIF.iter_errors(log)] == []
    return log["runs"][0]


def test_sarif_is_valid_and_complete(dirty: Report) -> None:
    """The log fits the SARIF 2.1.0 schema: a rule per code, a result per located finding, an artifact per file."""
    run = checked_sarif(dirty)
    rules = run["tool"]["driver"]["rules"]
    assert {rule["id"] for rule in rules} == dirty.findings.keys()
    assert all(CODES[rule["id"]].about in rule["help"]["text"] for rule in rules)
    assert [artifact["location"]["uri"] for artifact in run["artifacts"]] == [file.path for file in dirty.files]
    assert len(run["results"]) == len(dirty.located)
    for result, finding in zip(run["results"], dirty.located, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.code
        assert result["level"] == finding.severity
        place = result["locations"][0]["physicalLocation"]
        assert run["artifacts"][place["artifactLocation"]["index"]]["location"]["uri"] == finding.path
        assert place["region"] == {"startLine": finding.line, "byteOffset": finding.offset}
        assert result["properties"]["pointer"] == finding.pointer
    prints = [result["partialFingerprints"]["didactFinding/v1"] for result in run["results"]]
    assert len(set(prints)) == len(prints)


def test_sarif_links_rules_to_published_documentation(dirty: Report) -> None:
    """With an address of the documentation each rule links to its code; without one no link is made up."""
    rules = checked_sarif(dirty, "https://example.org/didact/docs/")["tool"]["driver"]["rules"]
    assert rules[0]["helpUri"] == f"https://example.org/didact/docs/codes.md#{rules[0]['id'].lower()}"
    assert all("helpUri" not in rule for rule in checked_sarif(dirty)["tool"]["driver"]["rules"])


def test_sarif_paths_are_relative_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any file name, also one that is no UTF-8, becomes a relative URI that decodes to the file."""
    folder = tmp_path / "my data"
    folder.mkdir()
    names = ["a b#c?.jsonl", "100%.jsonl", "x:y.jsonl", "中文.jsonl", "<script>.jsonl", os.fsdecode(b"caf\xe9.jsonl")]
    for number, name in enumerate(names):
        write_rows(folder / name, alpaca(instruction=f"Say nothing {number} times.", output=""))
    monkeypatch.chdir(tmp_path)
    report = validate("my data", "alpaca")
    run = checked_sarif(report)
    assert run["originalUriBaseIds"]["INPUT"]["uri"] == "my%20data/"
    uris = [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in run["results"]]
    assert sorted(os.fsdecode(unquote_to_bytes(uri)) for uri in uris) == sorted(names)
    assert all(re.fullmatch(r"(?:[\w.~/-]|%[0-9A-F]{2})+", uri, re.ASCII) for uri in uris)
    told = call("my data", "--format", "alpaca", "--json")
    assert told.exit_code == 0 and "caf\\xe9.jsonl" in {file["path"] for file in json.loads(told.stdout)["files"]}


def test_sarif_fingerprints_do_not_move_with_lines(tmp_path: Path) -> None:
    """A finding keeps its fingerprint when rows are put before it; alike ones have different ones."""
    path = write_rows(tmp_path / "rows.jsonl", alpaca(output=5), alpaca(output=5))
    before = checked_sarif(validate(path))["results"]
    write_rows(path, alpaca(instruction="New."), alpaca(output=5), alpaca(output=5))
    after = checked_sarif(validate(path))["results"]
    assert [result["partialFingerprints"] for result in before] == [result["partialFingerprints"] for result in after]
    assert len({json.dumps(result["partialFingerprints"]) for result in after}) == len(after) == 3


def test_sarif_of_hostile_input_is_plain_text(tmp_path: Path) -> None:
    """No message of a log holds control characters, links or placeholders from the data."""
    report = validate(hostile_folder(tmp_path), "alpaca", max_findings=9)
    report.located.append(Finding("SC002", report.files[0].path, 9, 9, 9, "", "unknown role '[a](http://x) {0}'"))
    messages = [result["message"]["text"] for result in checked_sarif(report)["results"]]
    assert all(message.isprintable() for message in messages)
    assert messages[-1] == "unknown role '\\[a\\](http://x) {{0}}'"


class _Page(HTMLParser):
    """A page's elements, attributes and text, and whether every element is closed."""

    VOID = ("meta", "br", "rect")

    def __init__(self, content: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: dict[str, str] = {}
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element."""
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.opened.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element, which is closed at once."""
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        """Close what was opened last."""
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect text by the element it stands in."""
        place = self.opened[-1] if self.opened else ""
        self.text[place] = self.text.get(place, "") + data


def test_the_page_tells_the_whole_report(dirty: Report) -> None:
    """Totals, every file, every code with its explanation, every kept finding with its excerpt."""
    page = _Page(validation_page(dirty))
    assert page.opened == [] and page.tags["svg"] == 1 + len(dirty.files) + len(dirty.findings)
    told = "".join(page.text.values())
    assert all(file.path in told for file in dirty.files)
    assert all(CODES[code].about in told for code in dirty.findings)
    assert all(visible(finding.message) in told and finding.excerpt in told for finding in dirty.located)
    assert {value for tag, name, value in page.attributes if (tag, name) == ("details", "id")} == dirty.findings.keys()


def test_the_page_is_its_own_and_runs_nothing_else(dirty: Report) -> None:
    """Nothing is fetched; the policy allows the page's own style and script by their hashes, and nothing more."""
    page = _Page(validation_page(dirty))
    assert page.tags["script"] == page.tags["style"] == 1
    assert {name for _, name, _ in page.attributes}.isdisjoint({"src", "style", "onload", "onclick", "srcset"})
    links = [value for _, name, value in page.attributes if name == "href"]
    assert links and all(value and value.startswith("#") for value in links)
    contents = [value or "" for tag, name, value in page.attributes if (tag, name) == ("meta", "content")]
    (policy,) = [content for content in contents if "-src" in content]
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.text[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "url(" not in page.text["style"] and "@import" not in page.text["style"]


def test_a_hostile_file_cannot_change_the_page(tmp_path: Path) -> None:
    """Markup in names, keys, messages and texts is shown as text: the page has the elements of a harmless one."""
    report = validate(hostile_folder(tmp_path), "alpaca", max_findings=9)
    page = _Page(validation_page(report))
    assert page.opened == [] and page.tags["script"] == 1
    allowed = set(_Page(validation_page(validate(DIRTY))).tags)
    assert set(page.tags) <= allowed
    assert "<script>alert(1)<" in page.text["td"] and "<script>alert(1)<" in page.text["code"]
    assert not {name for _, name, _ in page.attributes if name.startswith("on")}
    assert all(line.isprintable() for line in validation_page(report).split("\n"))


def test_the_page_stays_small_for_many_files() -> None:
    """Files and examples beyond a bound are counted, not shown."""
    page = validation_page(many_files(5000))
    assert len(page) < 2 << 20 and "and 3,000 more files" in page
    assert page.count("<li>") == EXAMPLES


def test_reports_are_written_together(tmp_path: Path) -> None:
    """--report may be given several times; the summary is printed all the same, and nothing half-written stays."""
    told = call(DIRTY, *(part for end in ("json", "sarif", "html") for part in ("--report", tmp_path / f"r.{end}")))
    assert told.exit_code == 1 and "Next:" in told.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "r.json", "r.sarif"]
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    SARIF.validate(json.loads((tmp_path / "r.sarif").read_bytes()))


def test_a_report_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    """A wrong ending, a missing folder, a folder's name or an input's end the call in one line before any work."""
    data = write_rows(tmp_path / "rows.json", alpaca())
    (tmp_path / "d.html").mkdir()
    before = data.read_bytes()
    for wrong, told in (
        (tmp_path / "r.txt", "ends in .json, .sarif or .html"),
        (tmp_path / "no" / "r.json", "the folder"),
        (tmp_path / "d.html", "is a folder"),
        (data, "is one of the files to validate"),
    ):
        result = call(data, "--report", wrong)
        assert result.exit_code == 2 and told in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert data.read_bytes() == before


def test_columns_map_other_names(tmp_path: Path) -> None:
    """--columns reads rows that name their fields differently; names that mean nothing end the call."""
    path = write_rows(tmp_path / "rows.jsonl", {"query": "Hi", "reply": "Hello."}, {"query": "Hi", "reply": 5})
    given = ("--columns", "prompt=query", "--columns", "response=reply", "--format", "prompt_completion")
    told = json.loads(call(path, *given, "--json").stdout)
    assert (told["valid"], told["findings"]) == (2, {"SC003": 1})
    assert excerpts(path, format="prompt_completion", columns={"prompt": "query", "response": "reply"}) == {
        "SC003": "5"
    }
    for wrong in ("prompt", "=x", "prompt=", "promt=query"):
        assert call(path, "--columns", wrong).exit_code == 2
    assert call(path, *given, "--columns", "prompt=other").exit_code == 2


def test_where_and_limit_choose_rows(tmp_path: Path) -> None:
    """--where counts only rows with that value, a text or a number; --limit only the first rows; totals add up."""
    rows = [alpaca(lang="en", n=1), alpaca(lang="de", n=1, output=""), alpaca(lang="en", n=2, output=[])]
    path = write_rows(tmp_path / "rows.jsonl", *rows)

    def counts(*options: object) -> tuple[int, int, int]:
        told = json.loads(call(path, "--format", "alpaca", "--json", *options).stdout)
        return told["records"], told["valid"], told["rejected"]

    assert counts() == (3, 2, 1)
    assert counts("--where", "lang=en") == (2, 1, 1)
    assert counts("--where", "lang=en", "--where", "n=1") == (1, 1, 0)
    assert counts("--limit", 2) == (2, 2, 0)
    assert call(path, "--limit", 0).exit_code == 2


def test_a_broken_pipe_is_no_error(tmp_path: Path) -> None:
    """When the reader leaves early, as `| head` does, nothing is complained about."""
    command = [sys.executable, "-c", "from didact.cli import main; main()", "validate", str(DIRTY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()
    assert "Traceback" not in complaint and "BrokenPipe" not in complaint


def test_shares_have_two_digits_that_count() -> None:
    """Small shares are not told as none, and more findings than records not as a percentage."""
    assert [share(*pair) for pair in ((1, 3), (1, 1000), (1, 10**6), (3, 2), (0, 0))] == [
        "33.3 % of", "0.10 % of", "< 0.01 % of", "1.5 per", "0.0 per",
    ]  # fmt: skip
