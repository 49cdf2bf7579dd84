"""Rows of every format that can be written, as wild as the format allows: what the laws of writing are tried on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from strategies import TEXT
from writable_messages import OPENAI, SHAREGPT
from writable_preferences import PREFERENCE, SPLIT

from didact.records import Header

Rows = st.SearchStrategy[dict[str, Any]]

ODD = TEXT | st.none() | st.integers(-5, 5) | st.just(2.50) | st.booleans()
"""What stands where text belongs."""

EXTRA = st.dictionaries(
    st.sampled_from(["meta", "id", "url", "weight~/"]),
    st.none() | st.integers(-3, 3) | TEXT | st.just({"a": [1, {"b": None}]}),
    max_size=3,
)


def shuffled(rows: Rows) -> Rows:
    """The rows with unknown keys among their own, in any order of keys."""
    return st.tuples(rows, EXTRA).flatmap(
        lambda pair: st.permutations(list((pair[1] | pair[0]).items())).map(lambda items: dict(items))
    )


def fields(required: dict[str, Any], optional: dict[str, Any]) -> Rows:
    """Rows with every required and any of the optional keys."""
    return st.fixed_dictionaries(required, optional=optional)


_ALPACA = (
    fields({"instruction": ODD, "output": ODD}, {"input": ODD | st.just("<noinput>")})
    | fields({"instruction": TEXT, "response": TEXT}, {"input": TEXT})
    | fields(
        {"instruction": TEXT, "output": TEXT, "system": TEXT},
        {
            "input": TEXT | st.none(),
            "history": st.none() | st.lists(st.lists(TEXT, min_size=2, max_size=2), max_size=2),
        },
    )
)
_CHOICES = st.lists(TEXT, min_size=2, max_size=4, unique=True)
_ANSWERS = st.lists(
    st.fixed_dictionaries({"text": TEXT}, optional={"answer_start": st.integers(-1, 9), "id": TEXT}), max_size=2
)
_LETTERED = st.fixed_dictionaries(
    {"Question": TEXT, **dict.fromkeys("ABCD", TEXT), "Answer": st.sampled_from("ABCD")}, optional={"": TEXT}
)
_MULTIPLE_CHOICE = _CHOICES.flatmap(
    lambda texts: (
        st.fixed_dictionaries({"question": TEXT, "choices": st.just(texts), "answer": st.integers(0, len(texts) - 1)})
        | st.fixed_dictionaries(
            {"ctx": TEXT, "endings": st.just(texts), "label": st.integers(0, len(texts) - 1).map(str)},
            optional={"ctx_a": TEXT},
        )
        | st.fixed_dictionaries(
            {
                "question": TEXT,
                "options": st.just(texts),
                "answer": st.sampled_from("ABCD"[: len(texts)]).map("({})".format),
            }
        )
        | st.fixed_dictionaries(
            {
                "question": TEXT,
                "choices": st.just({"text": texts, "label": list("1234"[: len(texts)])}),
                "answerKey": st.sampled_from("1234"[: len(texts)]),
            }
        )
        | st.fixed_dictionaries(
            {
                "question": st.fixed_dictionaries(
                    {
                        "stem": TEXT,
                        "choices": st.just([{"label": "ABCD"[i], "text": text} for i, text in enumerate(texts)]),
                    },
                    optional={"question_concept": TEXT},
                ),
                "answerKey": st.sampled_from("ABCD"[: len(texts)]),
            }
        )
    )
)
_QA = (
    fields(
        {"question": ODD, "answer": ODD.filter(lambda value: value is not None)},
        {"context": TEXT | st.none(), "rationale": TEXT, "is_impossible": st.booleans()},
    )
    | st.fixed_dictionaries({"Problem": TEXT, "Answers": st.lists(ODD, min_size=1, max_size=2)})
    | st.fixed_dictionaries(
        {
            "question": TEXT,
            "context": TEXT,
            "answers": st.lists(TEXT, max_size=2).map(
                lambda texts: {"text": texts, "answer_start": [i for i, _ in enumerate(texts)]}
            ),
        }
    )
)
_SCORES = st.dictionaries(TEXT, st.sampled_from([0, 1, 0.50]), min_size=1, max_size=3)
CASES: dict[str, Callable[[], Rows]] = {
    "alpaca": lambda: _ALPACA,
    "dolly": lambda: fields({"instruction": ODD, "context": ODD, "response": ODD}, {"category": ODD}),
    "gsm8k": lambda: fields({"question": ODD, "answer": ODD | st.just("So 4.\n#### 4")}, {}),
    "preference": lambda: PREFERENCE,
    "openai": lambda: OPENAI,
    "sharegpt": lambda: SHAREGPT,
    "prompt_completion": lambda: (
        fields({"prompt": ODD, "completion": ODD}, {"system": TEXT | st.none()})
        | fields({"inputs": TEXT, "targets": TEXT}, {"task_name": TEXT})
        | SPLIT
    ),
    "qa": lambda: _QA | _LETTERED | _MULTIPLE_CHOICE,
    "squad": lambda: fields(
        {"question": TEXT, "context": TEXT, "answers": _ANSWERS}, {"title": TEXT, "is_impossible": st.booleans()}
    ),
    "squad_articles": lambda: fields(
        {"question": TEXT, "context": TEXT, "answers": _ANSWERS}, {"paragraph": st.just({"id": "p"})}
    ),
    "classification": lambda: fields({"text": TEXT, "label": st.text(min_size=1, max_size=4) | st.integers(0, 5)}, {}),
    "self_instruct": lambda: fields(
        {"instruction": ODD, "output": ODD}, {"input": ODD, "name": ODD, "is_classification": st.booleans()}
    ),
    "sni": lambda: fields({"input": ODD, "output": ODD | st.lists(ODD, min_size=1, max_size=2)}, {}),
    "bbh": lambda: (
        fields({"input": ODD, "target": ODD | st.lists(TEXT, min_size=1, max_size=2)}, {"comment": TEXT})
        | fields({"input": TEXT, "target_scores": _SCORES}, {})
    ),
    "text": lambda: fields({"text": ODD}, {"title": TEXT | st.none()}),
}


def rows_of(name: str) -> st.SearchStrategy[tuple[dict[str, Any], Header | None]]:
    """Rows of a format, and what their file says once."""
    return shuffled(CASES[name]()).map(lambda row: (row, None))
