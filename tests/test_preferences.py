"""Judged answers: every shape is read alike, new rows take the shape that fits, an edit stays where it was made."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from didact.errors import NoPlace, RowError
from didact.formats.registry import get
from didact.formats.writing import losses, same_content, write_row
from didact.records import Candidate, Chat, Message, Preference, TextPart

ADAPTER = get("preference")


def preference(row: dict[str, Any]) -> Preference:
    """A row that must become a preference."""
    record = ADAPTER.read(row, None).record
    assert isinstance(record, Preference)
    return record


def said(role: Any, text: str) -> Message:
    """A message of one text."""
    return Message(role=role, parts=[TextPart(text=text)])


def told(record: Preference) -> list[tuple[str, float | None, int | None]]:
    """Text, score and rank of each candidate."""
    return [(record.candidate_turns(k)[0]["content"], c.score, c.rank) for k, c in enumerate(record.candidates)]


def test_ranked_answers_stand_best_first() -> None:
    """Scores and ranks, beside the answers or inside them, order the candidates; an unjudged answer comes last."""
    scored = preference({"prompt": "p", "completions": ["a", "b", "c"], "scores": [1, None, 4.5]})
    assert told(scored) == [("c", 4.5, None), ("a", 1.0, None), ("b", None, None)]
    ranked = preference({"prompt": "p", "responses": ["a", "b"], "ranking": [1, 0]})
    assert told(ranked) == [("b", None, 1), ("a", None, 2)]
    items = [{"model": "x", "response": "a", "overall_score": 2}, {"response": "b", "overall_score": 3, "rank": 1}]
    record = preference({"instruction": "p", "completions": items})
    assert told(record) == [("b", 3.0, 1), ("a", 2.0, None)]
    assert record.origin is not None
    assert record.origin.extra == {"completions/0/model": "x"}
    with pytest.raises(RowError) as refused:
        preference({"prompt": "p", "completions": ["a", "b"], "scores": [1]})
    assert (refused.value.code, refused.value.pointer) == ("SC002", "/scores")


def test_steps_are_parts_with_a_verdict_each() -> None:
    """An answer judged step by step is one answer, desirable when every step is, shown with a line for each step."""
    row = {"prompt": "p", "completions": ["one", "two"], "labels": [True, False]}
    record = preference(row)
    parts = record.candidates[0].messages[0].parts
    assert [(part.text, part.label) for part in parts if isinstance(part, TextPart)] == [("one", True), ("two", False)]
    assert record.candidates[0].label is False
    assert record.dialogue() == []
    assert record.candidate_turns(0)[0]["content"] == "one\ntwo"
    assert write_row(ADAPTER, record) == row
    with pytest.raises(RowError) as refused:
        preference(row | {"labels": [True]})
    assert refused.value.pointer == "/labels"


def test_an_instruction_is_asked_with_its_input() -> None:
    """A pair in Alpaca's columns is asked both; an edit of the input changes the input."""
    row = {"instruction": "Add.", "input": "2 2", "chosen": "4", "rejected": "22"}
    record = preference(row)
    assert record.prompt == [said("user", "Add.\n\n2 2")]
    record.prompt = [said("user", "Add.\n\n2 3")]
    assert write_row(ADAPTER, record, row=row) == row | {"input": "2 3"}


def test_a_transcript_is_edited_in_its_text() -> None:
    """A turn inside a transcript is changed in both texts that begin with it."""
    row = {"chosen": "\n\nHuman: p\n\nAssistant: good", "rejected": "\n\nHuman: p\n\nAssistant: bad", "n": 1}
    record = preference(row)
    record.prompt[0] = said("user", "q")
    assert write_row(ADAPTER, record, row=row) == {
        "chosen": "\n\nHuman: q\n\nAssistant: good",
        "rejected": "\n\nHuman: q\n\nAssistant: bad",
        "n": 1,
    }


def test_a_text_that_would_read_as_a_transcript_becomes_messages() -> None:
    """What a text cannot say without being misread is written as messages."""
    row = {"prompt": "p", "chosen": "good", "rejected": "bad"}
    record = preference(row)
    record.candidates[0].messages = [said("assistant", "\n\nHuman: p")]
    written = write_row(ADAPTER, record, row=row)
    assert same_content(preference(written), record)
    assert written["chosen"] == [{"role": "assistant", "content": "\n\nHuman: p"}]
    assert (written["prompt"], written["rejected"]) == ("p", "bad")


@pytest.mark.parametrize(
    ("candidates", "row"),
    [
        ([Candidate(messages=[said("assistant", "a")], label=True)], {"completion": "a", "label": True}),
        (
            [Candidate(messages=[said("assistant", text)], score=score) for text, score in (("a", 2.0), ("b", 1.0))],
            {"chosen": "a", "rejected": "b", "score_chosen": 2.0, "score_rejected": 1.0},
        ),
        (
            [Candidate(messages=[said("assistant", text)], rank=i) for i, text in enumerate("abc", 1)],
            {"completions": ["a", "b", "c"], "ranks": [1, 2, 3]},
        ),
    ],
)
def test_new_rows_take_the_shape_that_fits(candidates: list[Candidate], row: dict[str, Any]) -> None:
    """One judged answer, a pair, and a longer ranking are each written in the usual shape, without loss."""
    record = Preference(prompt=[said("user", "p")], candidates=candidates)
    written = write_row(ADAPTER, record)
    assert written == {"prompt": "p"} | row
    assert losses(ADAPTER, record, written, None, None) == []


def test_an_unjudged_answer_is_no_preference() -> None:
    """A conversation has nothing to prefer its answer to; the refusal names the candidates."""
    with pytest.raises(NoPlace) as refused:
        write_row(ADAPTER, Chat(messages=[said("user", "p"), said("assistant", "a")]))
    assert refused.value.pointer == "/candidates"


def test_a_pair_that_loses_its_shape_keeps_unknown_keys() -> None:
    """A third candidate turns a pair into a ranking; what the author added stays."""
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "annotator": 7}
    record = preference(row)
    record.candidates.append(Candidate(messages=[said("assistant", "c")]))
    record.candidates = [c.model_copy(update={"rank": i}) for i, c in enumerate(record.candidates, 1)]
    assert write_row(ADAPTER, record, row=row) == {
        "annotator": 7, "prompt": "p", "completions": ["a", "b", "c"], "ranks": [1, 2, 3],
    }  # fmt: skip


# --- prompt and completion as messages


def test_only_the_completion_is_trained_on() -> None:
    """An assistant's turn in the prompt weighs nothing, and an edit of it leaves the row without a weight."""
    asked = [("user", "a"), ("assistant", "b"), ("user", "c")]
    row = {
        "prompt": [{"role": role, "content": text} for role, text in asked],
        "completion": [{"role": "assistant", "content": "d"}],
    }
    adapter = get("prompt_completion")
    record = adapter.read(row, None).record
    assert isinstance(record, Chat)
    assert [message.weight for message in record.messages] == [None, 0.0, None, None]
    edited = record.with_texts(["a", "B", "c", "d"])
    expected: Any = copy.deepcopy(row)
    expected["prompt"][1]["content"] = "B"
    assert write_row(adapter, edited, row=row) == expected
    assert write_row(adapter, record) == row


def test_a_long_conversation_is_cut_before_its_first_trained_turn() -> None:
    """All that is trained on lies in the completion, so nothing is lost."""
    chat = Chat(messages=[said("user", "a"), said("assistant", "b"), said("user", "c"), said("assistant", "d")])
    row = write_row(get("prompt_completion"), chat)
    assert [len(row["prompt"]), len(row["completion"])] == [1, 3]
    assert losses(get("prompt_completion"), chat, row, None, None) == []
