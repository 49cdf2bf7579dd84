"""JSON arrays and objects are cut without being held, and what is broken costs only itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cut_rows import codes, cut, cut_rows, values
from hypothesis import example, given
from hypothesis import strategies as st

from didact.records.findings import Finding
from didact.sources import arrays
from didact.sources.blocks import Block
from didact.sources.rows import Row

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**6) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
INDENT = st.sampled_from([None, 0, 2])
WINDOW = st.integers(1, 90)


@given(elements=st.lists(JSON, max_size=8), indent=INDENT, ascii_only=st.booleans(), window=WINDOW)
@example(elements=[12, 345], indent=None, ascii_only=True, window=1)
def test_array_is_cut_as_json_reads_it(elements: list[Any], indent: int | None, ascii_only: bool, window: int) -> None:
    """For any JSON values, lay-out and window, the rows are the array's elements, and nothing is found wrong."""
    content = json.dumps(elements, indent=indent, ensure_ascii=ascii_only).encode()
    found = cut_rows(content, "json", window)
    assert values(found) == elements
    assert codes(found) == ([] if elements else ["IO001"])


@given(elements=st.lists(st.dictionaries(TEXT, JSON, max_size=3), min_size=1, max_size=8), indent=INDENT, window=WINDOW)
def test_rows_know_where_they_stand(elements: list[Any], indent: int | None, window: int) -> None:
    """Index, physical line and byte offset of each row point at the element in the file."""
    content = ("\n\n" + json.dumps(elements, indent=indent, ensure_ascii=False)).encode()
    found = cut_rows(content, "json", window)
    for index, row in enumerate(found):
        assert isinstance(row, Row)
        assert row.index == index
        assert row.line == content[: row.offset].count(b"\n") + 1
        value, _ = json.JSONDecoder().raw_decode(content[row.offset :].decode())
        assert value == row.value


@given(elements=st.lists(JSON, max_size=6), windows=st.tuples(WINDOW, WINDOW))
def test_bare_values_are_rows_too(elements: list[Any], windows: tuple[int, int]) -> None:
    """Objects that follow each other over several lines, without an array around them, are rows."""
    content = "\n".join(json.dumps({"value": element}, indent=1) for element in elements).encode()
    assert values(cut_rows(content, "json", windows[0])) == [{"value": element} for element in elements]


@pytest.mark.parametrize("lines", [False, True])
def test_a_number_too_long_for_python_costs_its_row(lines: bool) -> None:
    """Python refuses to read an integer of more than 4,300 digits: the row is rejected, and the next one is read."""
    rows = ['{"n": 1}', '{"n": ' + "1" * 5000 + "}", '{"n": 2}']
    content = "\n".join(rows) if lines else f"[{', '.join(rows)}]"
    found = cut_rows(content.encode(), "jsonl" if lines else "json")
    assert values(found) == [{"n": 1}, {"n": 2}]
    assert codes(found) == ["JS001"]


GOOD = [
    {"instruction": f"do {i}", "tags": [{"name": "x"}, {"name": "y"}], "output": 'a "quoted", {"x": 1}\n'}
    for i in range(6)
]
BREAKS = {
    "missing quote": lambda text: text.replace('"do', "do", 1),
    "missing closing quote": lambda text: text.replace('", "tags', ', "tags', 1),
    "missing brace": lambda text: text[:-1],
    "missing value": lambda text: text.replace('"do 2"', "", 1).replace('"do 3"', "", 1),
    "words between": lambda text: text + " and then",
    "trailing comma inside": lambda text: text[:-1] + ",}",
    "cut in the middle": lambda text: text[: len(text) // 2],
    "extra bracket inside": lambda text: text.replace('[{"name"', '[[{"name"', 1),
}


@pytest.mark.parametrize("window", [7, 100, 10_000])
@pytest.mark.parametrize("broken", [2, 3], ids=["even", "odd"])
@pytest.mark.parametrize("name", BREAKS)
def test_broken_element_costs_one_row(name: str, broken: int, window: int) -> None:
    """Whatever is broken in an element, the others are read, and it is one rejected row with its place."""
    texts = [json.dumps(element) for element in GOOD]
    whole = texts[broken]
    texts[broken] = BREAKS[name](whole)
    content = ("[\n" + ",\n".join(texts) + "\n]").encode()
    found = cut_rows(content, "json", window)
    kept = list(range(6)) if name == "words between" else [i for i in range(6) if i != broken]
    assert values(found) == [GOOD[i] for i in kept]
    errors = [finding for finding in found if isinstance(finding, Finding) and finding.code == "JS001"]
    assert [(finding.index, finding.line) for finding in errors] == (
        [(broken + 1, broken + 2)] if name == "words between" else [(broken, broken + 2)]
    )


def test_first_and_last_elements_may_be_broken() -> None:
    """A broken first element does not hide the second, and a broken last one does not hide that the array ends."""
    content = b'[{"a": oops, "sub": [{"b": 1}, {"b": 2}]}, {"a": 2}, {"a": 3, "b" 4}]'
    found = cut_rows(content, "json")
    assert values(found) == [{"a": 2}]
    assert codes(found) == ["JS001", "JS001"]


def test_trailing_comma_costs_no_row() -> None:
    """A comma before the closing bracket is a located warning, and every element is read."""
    found = cut_rows(b'[\n{"a": 1},\n{"a": 2},\n]  \n', "json")
    assert values(found) == [{"a": 1}, {"a": 2}]
    (note,) = [finding for finding in found if isinstance(finding, Finding)]
    assert (note.code, note.line, note.severity) == ("JS008", 4, "warning")


@pytest.mark.parametrize("window", [3, 1000])
@pytest.mark.parametrize(
    ("text", "rows", "found"),
    [
        ('[{"a": 1}]\n{"a": 2}', 2, ["JS008"]),
        ('[{"a": 1}] [{"a": 2}]', 2, []),
        ('[{"a": 1} {"a": 2}]', 2, ["JS008"]),
        ('[{"a": 1},, {"a": 2}]', 2, ["JS008"]),
        ('[, {"a": 1}]', 1, ["JS008"]),
        ('[{"a": 1}]]', 1, ["JS008"]),
        ('[{"a": 1}, {"a": 2}', 2, ["JS008"]),
        ('[{"a": 1}, {"a": ', 1, ["JS001", "JS008"]),
        ("[]", 0, ["IO001"]),
        ("[", 0, ["IO001", "JS008"]),
        ("[] x", 0, ["JS001", "JS008"]),
    ],
)
def test_brackets_and_commas_gone_wrong_cost_no_element(text: str, rows: int, found: list[str], window: int) -> None:
    """What is wrong between elements is told, and every element that can be read is read."""
    seen = cut_rows(text.encode(), "json", window)
    assert len(values(seen)) == rows
    assert sorted(codes(seen)) == found


def test_deep_nesting_is_a_finding() -> None:
    """An element nested too deeply for any parser is one rejected row; the next is read."""
    deep = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
    found = cut_rows(f'[{deep}, {{"a": 1}}]'.encode(), "json")
    assert codes(found) == ["JS001"]
    assert values(found) == [{"a": 1}]


@pytest.mark.parametrize("window", [50, 400, 100_000])
def test_oversize_element_is_passed_over(window: int) -> None:
    """An element longer than the limit costs one row, and the elements around it are read."""
    content = json.dumps([{"a": "x"}, {"a": "y" * 5000}, {"a": "z"}]).encode()
    found = cut_rows(content, "json", window, row_limit=1000)
    assert values(found) == [{"a": "x"}, {"a": "z"}]
    assert codes(found) == ["JS007"]


def test_oversize_element_is_never_held_whole() -> None:
    """The reader gives up on an element as soon as the limit is passed: no block is much longer than it."""
    content = b'[{"a": 1}, {"a": "' + b"y" * 200_000 + b'"}, {"a": 2}]'
    blocks = [found for found in cut(content, "json", 256, 4096) if isinstance(found, Block)]
    assert max(len(block.data) for block in blocks) < 20_000
    assert values(cut_rows(content, "json", 256, 4096)) == [{"a": 1}, {"a": 2}]


@given(elements=st.lists(JSON, min_size=1, max_size=5), before=st.dictionaries(TEXT, JSON, max_size=2), indent=INDENT)
def test_object_gives_its_list_and_its_head(elements: list[Any], before: dict[str, Any], indent: int | None) -> None:
    """An object's list becomes the rows; the rest of the object is the block's head, nothing lost."""
    before.pop("Rows", None)
    content = json.dumps({**before, "Rows": elements, "After": [1]}, indent=indent, ensure_ascii=False).encode()
    (block,) = [found for found in cut(content, "object", list_key="Rows") if isinstance(found, Block)]
    assert values(cut_rows(content, "object", list_key="Rows")) == elements
    assert json.loads(block.head) == {**before, "After": [1]}


@pytest.mark.parametrize(
    ("text", "rows", "found"),
    [
        ('{"Rows": []}', 0, ["TK001"]),
        ('{"Other": [1]}', 0, ["TK001"]),
        ('{"Rows": 5}', 0, ["TK001"]),
        ('{"x": oops, "Rows": [{"a": 1}]}', 0, ["JS001"]),
        ('{"Rows": [{"a": 1}, {"a": oops}, {"a": 3}]}', 2, ["JS001"]),
        ('{"Rows": [{"a": 1}], "x": oops}', 1, ["JS008"]),
        ('{"Rows": [{"a": 1}', 1, ["JS008", "JS008"]),
        ('{"Rows": [{"a": 1}] "x"', 1, ["JS008"]),
    ],
)
def test_broken_object_keeps_what_can_be_read(text: str, rows: int, found: list[str]) -> None:
    """Damage inside or behind the list costs what it hits; damage before it costs the file, as one row."""
    seen = cut_rows(text.encode(), "object", list_key="Rows")
    assert len(values(seen)) == rows
    assert codes(seen) == found


class _Both:
    """Scans with and without the kernel, and compares what comes of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch

    def __call__(self, content: bytes, window: int) -> list[Row | Finding]:
        import numba  # noqa: F401  # only where others have loaded it is the kernel used

        found = []
        for least in (1, 1 << 30):
            self.patch.setattr(arrays, "_WORTH_A_KERNEL", least)
            found.append(cut_rows(content, "json", window))
        assert found[0] == found[1]
        return found[0]


@pytest.fixture(scope="module")
def both() -> Iterator[_Both]:
    """The two ways, for all examples of a test."""
    with pytest.MonkeyPatch.context() as patch:
        yield _Both(patch)


_MARKS = '{}[]",:\\ue019-+.tfn\n\x00'
_OBJECTS = st.lists(
    st.dictionaries(TEXT, JSON | st.floats(allow_nan=False, allow_infinity=False), max_size=4), min_size=1, max_size=8
)


@given(_OBJECTS, INDENT, st.booleans(), WINDOW)
def test_the_kernel_cuts_as_the_scanner_does(
    both: _Both, elements: list[Any], indent: int | None, ascii_only: bool, window: int
) -> None:
    """Valid arrays of objects, in any lay-out."""
    assert values(both(json.dumps(elements, indent=indent, ensure_ascii=ascii_only).encode(), window)) == elements


@given(
    _OBJECTS,
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from(list('{}[]",:\\ue019-+.tfn\n\x00'))), max_size=4
    ),
    st.integers(1, 400),
)
def test_the_kernel_sees_every_fault_that_the_scanner_sees(
    both: _Both, elements: list[Any], edits: list[tuple[float, int, str]], window: int
) -> None:
    """Arrays with characters put in, taken out and replaced anywhere."""
    content = json.dumps(elements)
    for share, drop, put in edits:
        at = int(share * len(content))
        content = content[:at] + put + content[at + drop :]
    both(content.encode(), window)


@pytest.mark.parametrize(
    "value",
    [
        "01", "1.", ".5", "-", "--1", "1e", "1e+", "-0", "0e5", "1E-7", "+1", "NaN", "-Infinity", "tru", "true1",
        "nulll", '"\\u12"', '"\\u12G4"', '"\\ud800"', '"\\x"', '"\\', '"a\tb"', "[1,]", "[,1]", '{"a":1,}', '{"a"}',
        "{1:2}", "[" * 80 + "]" * 81 + "}, {", "[" * 59 + "]" * 59, "[" * 80 + "]" * 80, "9" * 301,
        "1." + "9" * 400, "[}", "{]",
    ],
)  # fmt: skip
def test_the_kernel_knows_json(both: _Both, value: str) -> None:
    """Numbers, escapes, words and brackets at the edges of the grammar, between rows without a fault."""
    rows = ", ".join(['{"a": 1}', f'{{"a": {value}}}', f'{{"a": {value}, "b": 2}}', '{"a": 3}', '{"a": 4}'])
    both(f"[{rows}]".encode(), 1 << 20)


@pytest.mark.parametrize("between", [",", " , ", "", " ", ",,", ", ,", ",]", "],[", ", 1,", ',"a",', ", [],", ", {},"])
def test_the_kernel_minds_what_stands_between_rows(both: _Both, between: str) -> None:
    """Commas that lack or are too many, brackets, and elements that are no objects."""
    for content in ("[{0}{1}{0}]", "[{0},{0}{1}]", "[{1}{0}{1}{0}]", "[{0}{1}{0}{1}{0},{0}{1}", "{0}{1}{0}{1}{0}"):
        both(content.format('{"a": 1}', between).encode(), 1 << 20)
