"""Dirt of real files, one golden case each: what is told, with which code, and that the rows around it are read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from didact.validate import validate

GOOD = {"instruction": "Name a river.", "input": "", "output": "The Nile."}


def row(**changes: Any) -> str:
    """A sound alpaca row as a line of JSON, with changes."""
    return json.dumps(GOOD | changes, ensure_ascii=False)


def others(count: int = 3) -> list[str]:
    """Sound rows that differ from each other."""
    return [row(instruction=f"Name river number {i}.") for i in range(count)]


def lines(*odd: str) -> bytes:
    """JSON lines with odd ones in the middle of sound ones."""
    return "\n".join([*others(2), *odd, row(instruction="The last one.")]).encode("utf-8", "surrogatepass") + b"\n"


def chat(*turns: tuple[str, Any]) -> str:
    """A conversation as a line of JSON."""
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]})


def shares(*turns: tuple[str, str]) -> str:
    """A ShareGPT conversation as a line of JSON."""
    return json.dumps({"conversations": [{"from": role, "value": text} for role, text in turns]})


ASKED = "Copy this sentence about rivers, please."
CHATS = (chat(("user", "Hi"), ("assistant", "Hello.")) + "\n").encode()

BAD_ESCAPES = '{"instruction": "a\\_b\\q", "input": "", "output": "c"}'
DIALOGUE = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
PICK: dict[str, Any] = {"question": "q", "choices": ["a", "b"], "answer": 0}
SPAN = {"question": "q", "context": "It is red.", "answers": {"text": ["red"], "answer_start": [3]}}

DIRT: dict[str, tuple[str, bytes, int, int, dict[str, int]]] = {
    # name: (file, content, valid, rejected, findings)
    "a trailing comma ends an array": ("a.json", f"[{','.join(others())},\n]".encode(), 3, 0, {"JS008": 1}),
    "an invalid escape": ("a.jsonl", lines('{"instruction": "a\\_b", "output": "c"}'), 3, 1, {"JS001": 1}),
    "two invalid escapes in an array": (
        "a.json",
        f"[{','.join([*others(2), BAD_ESCAPES, row()])}]".encode(),
        3, 1, {"JS001": 1},
    ),
    "a record split over two lines": (
        "a.jsonl", lines('{"instruction": "Name a', 'lake.", "output": "Como."}'), 3, 2, {"JS001": 2},
    ),
    "CRLF": ("a.jsonl", "\r\n".join(others()).encode() + b"\r\n", 3, 0, {}),
    "nothing inside a gzip": ("a.jsonl.gz", gzip.compress(b""), 0, 0, {"IO001": 1}),
    "JSON lines called .json": ("a.json", "\n".join(others()).encode(), 3, 0, {}),
    "an array called .jsonl": ("a.jsonl", f"[{', '.join(others())}]".encode(), 3, 0, {}),
    "keys that come and go": (
        "a.jsonl", lines('{"instruction": "No input here.", "output": "Right."}', row(instruction="x", lang="en")),
        5, 0, {},
    ),
    "response for output": ("a.jsonl", lines('{"instruction": "Say yes.", "response": "Yes."}'), 4, 0, {}),
    "content as typed parts": (
        "a.jsonl", CHATS + chat(("user", [{"type": "text", "text": "Now?"}]), ("assistant", "Yes.")).encode(), 2, 0, {},
    ),
    "an image among the parts": (
        "a.jsonl",
        CHATS
        + chat(
            ("user", [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "cat.png"}}]),
            ("assistant", "A cat."),
        ).encode(),
        2, 0, {"MM001": 1},
    ),
    **{
        f"no input, spelt {spelling}": ("a.jsonl", lines(row(input=spelling)), 4, 0, {"CO003": 1})
        for spelling in ("<noinput>", "No input", "noinput", "N/A", "None", "<No Input>", "no input.")
    },
    "an empty output": ("a.jsonl", lines(row(output="")), 4, 0, {"CO002": 1}),
    "an output of white space": ("a.jsonl", lines(row(output=" \n")), 4, 0, {"CO002": 1}),
    "an output of one character": ("a.jsonl", lines(row(output="A")), 4, 0, {}),
    "output equal to input": ("a.jsonl", lines(row(input=ASKED, output=ASKED)), 4, 0, {"CO005": 1}),
    "a control character": ("a.jsonl", lines(row(output="Ding\a dong.")), 4, 0, {"UN001": 1}),
    "a NUL": ("a.jsonl", lines(row(output="Nile\0 and more.")), 4, 0, {"UN001": 1}),
    # What ftfy can restore, a euro sign and an ellipsis here, is mojibake rather than a control character.
    "a C1 control": ("a.jsonl", lines(row(output="Nile\x80 and more.")), 4, 0, {"UN002": 1}),
    "U+2028": ("a.jsonl", lines(row(output="Nile\u2028and more.")), 4, 0, {"UN001": 1}),
    "U+0085": ("a.jsonl", lines(row(output="Nile\x85and more.")), 4, 0, {"UN002": 1}),
    "U+FFFD": ("a.jsonl", lines(row(output="Nile \ufffd and more.")), 4, 0, {"UN007": 1}),
    "a zero-width space": ("a.jsonl", lines(row(output="Ni\u200ble.")), 4, 0, {"UN004": 1}),
    "a bidi mark": ("a.jsonl", lines(row(output="Ni\u202ele.")), 4, 0, {"UN004": 1}),
    "half a surrogate pair, escaped": (
        "a.jsonl", lines('{"instruction": "a", "input": "", "output": "\\ud83d x"}'), 3, 1, {"UN003": 1},
    ),
    "HTML entities": ("a.jsonl", lines(row(output="Salt &amp; pepper, &quot;please&quot;.")), 4, 0, {"CO012": 1}),
    "literal line ends": (
        "a.jsonl", lines(row(output="First.\\nSecond.\\nThird.")), 4, 0, {"CO011": 1},
    ),
    "<|endoftext|> in every completion": (
        "a.jsonl",
        "\n".join(json.dumps({"prompt": f"{i}?", "completion": f"{i}.<|endoftext|>"}) for i in range(3)).encode(),
        3, 0, {"UN006": 3},
    ),
    "an end on the user": (
        "a.jsonl", CHATS + chat(("user", "a"), ("assistant", "b"), ("user", "c")).encode(), 2, 0, {"RO004": 1},
    ),
    "two users in a row": (
        "a.jsonl", (shares(("human", "a"), ("human", "b"), ("gpt", "c")) + "\n").encode(), 1, 0, {"RO002": 1},
    ),
    "an empty turn": ("a.jsonl", CHATS + chat(("user", "a"), ("assistant", "")).encode(), 2, 0, {"CO002": 1}),
    "null content without a call": (
        "a.jsonl", CHATS + chat(("user", "a"), ("assistant", None)).encode(), 2, 0, {"CO002": 1, "SC005": 1},
    ),
    "no assistant": ("a.jsonl", CHATS + chat(("user", "a")).encode(), 1, 1, {"RO005": 1}),
    "placeholders": ("a.jsonl", lines(row(output="I am {{name}}.")), 4, 0, {"CO010": 1}),
    "cells over many lines": (
        "a.csv", b'instruction,input,output\n"Write\n\na poem.",,"Roses\nare\nred."\nName it.,,Rose.\n', 2, 0, {},
    ),
    "Latin-1": ("a.jsonl", lines(*others(1)) + '{"instruction": "Caf\xe9?", "output": "a"}'.encode("latin-1"), 4, 1, {
        "IO002": 1, "DU001": 1,
    }),
    "a key twice": ("a.jsonl", lines('{"instruction": "a", "output": "b", "output": "c"}'), 4, 0, {"JS003": 1}),
    "NaN": ("a.jsonl", lines('{"instruction": "a", "output": "b", "score": NaN}'), 3, 1, {"JS004": 1}),
    "Infinity": ("a.jsonl", lines('{"instruction": "a", "output": "b", "score": -Infinity}'), 3, 1, {"JS004": 1}),
    "a number for text": ("a.jsonl", lines(row(output=42)), 4, 0, {"SC003": 1}),
    "messages as JSON text": (
        "a.jsonl",
        CHATS + json.dumps({"messages": json.dumps(DIALOGUE)}).encode(),
        2, 0, {"JS005": 1},
    ),
    "a byte order mark": ("a.jsonl", b"\xef\xbb\xbf" + "\n".join(others()).encode(), 3, 0, {"IO003": 1}),
    "no object": ("a.jsonl", lines("[1, 2]"), 3, 1, {"JS002": 1}),
    "several examples in one output": (
        "a.jsonl", lines(row(output="The Po.\n\n18. Instruction: Name a lake.\nOutput: Como.")), 4, 0, {"CO004": 1},
    ),
    "an unclosed tag of thinking": ("a.jsonl", lines(row(output="<think>Which one? The Po.")), 4, 0, {"CO009": 1}),
    "an unknown role": ("a.jsonl", CHATS + chat(("narrator", "a"), ("assistant", "b")).encode(), 1, 1, {"RO001": 1}),
    "a conversation that starts with gpt": (
        "a.jsonl", (shares(("gpt", "a"), ("human", "b"), ("gpt", "c")) + "\n").encode(), 1, 0, {"RO003": 1},
    ),
    "a withheld key": (
        "a.jsonl", "\n".join(map(json.dumps, (PICK, PICK | {"answer": -1}))).encode(),
        1, 1, {"QA001": 1},
    ),
    "a choice twice": ("a.jsonl", b'{"question": "q", "choices": ["a", "a"], "answer": 0}\n', 1, 0, {"QA004": 1}),
    "chosen and rejected alike": ("a.jsonl", b'{"prompt": "p", "chosen": "a", "rejected": "a"}\n', 1, 0, {"PR001": 1}),
    "a span beside its answer": (
        "a.jsonl",
        json.dumps(SPAN).encode(),
        1, 0, {"QA003": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIRT)
def test_dirt_is_told_and_costs_no_other_row(tmp_path: Path, name: str) -> None:
    """Each kind of dirt has its code and its count, and every sound row around it is valid."""
    file, content, valid, rejected, findings = DIRT[name]
    (tmp_path / file).write_bytes(content)
    report = validate(tmp_path / file, max_findings=9)
    assert dict(report.findings) == findings, [str(found) for found in report.located]
    (verdict,) = report.files
    assert (verdict.valid, verdict.rejected) == (valid, rejected)
    assert verdict.records == valid + rejected
