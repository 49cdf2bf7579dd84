"""Rows that hold judged answers, in every shape and spelling in use."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from writable_messages import FROM_MESSAGE, ODD, ROLE_MESSAGE, SPOKEN, THOUGHTFUL, TOOLS, WORD, fields, messages

Rows = st.SearchStrategy[dict[str, Any]]

USER = fields({"role": st.just("user"), "content": SPOKEN}, {"name": WORD})
ASSISTANT = fields({"role": st.just("assistant"), "content": SPOKEN | THOUGHTFUL}, {"weight": st.just(1)})
PROMPT = SPOKEN | st.integers(0, 3) | messages(USER | ROLE_MESSAGE) | ROLE_MESSAGE | FROM_MESSAGE
MARKED = st.builds(lambda asked, end: f"\n\nHuman: {asked}{end}", WORD, st.sampled_from(["", "\n\nAssistant:"]))
ANSWER = ODD | messages(ASSISTANT) | messages(FROM_MESSAGE) | ASSISTANT
BESIDE = {
    "system": st.none() | SPOKEN,
    "score_chosen": st.none() | st.integers(0, 5) | st.just("good"),
    "chosen_score": st.just(2.5),
    "tools": st.none() | TOOLS,
}


def transcript(*turns: str) -> str:
    """A dialogue in one text."""
    return "".join(f"\n\n{('Human', 'Assistant')[i % 2]}: {turn}" for i, turn in enumerate(turns))


def _implicit(shared: list[Any], good: Any, bad: Any, rest: dict[str, Any]) -> dict[str, Any]:
    return {"chosen": [*shared, good], "rejected": [*shared, bad], **rest}


PAIRS = st.one_of(
    st.fixed_dictionaries({"prompt": PROMPT | MARKED, "chosen": ANSWER, "rejected": ANSWER}, optional=BESIDE),
    st.fixed_dictionaries(
        {"conversations": messages(FROM_MESSAGE), "chosen": FROM_MESSAGE, "rejected": FROM_MESSAGE}, optional=BESIDE
    ),
    st.fixed_dictionaries(
        {"instruction": SPOKEN, "chosen": SPOKEN, "rejected": THOUGHTFUL}, optional={"input": st.none() | SPOKEN}
    ),
    st.fixed_dictionaries({"question": SPOKEN, "response_j": SPOKEN, "response_k": SPOKEN}),
    st.builds(
        _implicit,
        st.lists(USER, min_size=1, max_size=2),
        ASSISTANT,
        ASSISTANT,
        st.fixed_dictionaries({}, optional=BESIDE | {"prompt": st.none() | WORD}),
    ),
    st.builds(
        lambda asked, good, bad: {"chosen": transcript(asked, good), "rejected": transcript(asked, bad)},
        WORD, WORD, WORD,
    ),
    fields(
        {
            "input": fields({"messages": st.lists(USER, min_size=1, max_size=2)}, {"tools": TOOLS}),
            "preferred_output": st.lists(ASSISTANT, min_size=1, max_size=1),
            "non_preferred_output": st.lists(ASSISTANT, min_size=1, max_size=1),
        },
        {},
    ),
)  # fmt: skip
VERDICTS = (
    st.fixed_dictionaries(
        {"messages": st.tuples(USER, ASSISTANT).map(list), "label": st.booleans()},
        optional={"system": SPOKEN, "tools": TOOLS},
    )
    | st.fixed_dictionaries({"prompt": PROMPT, "completion": SPOKEN | st.lists(ASSISTANT, min_size=1, max_size=1),
                             "label": st.booleans()}, optional={"system": SPOKEN})
    | st.fixed_dictionaries({"instruction": SPOKEN, "input": SPOKEN, "output": SPOKEN, "kto_tag": st.booleans()})
)  # fmt: skip
ITEM = fields(
    {"response": SPOKEN | THOUGHTFUL, "overall_score": st.integers(0, 5) | st.none()},
    {"rank": st.integers(0, 3), "score": st.just(1.5) | st.just("high"), "text": st.none()},
)


def _ranked(count: int) -> Rows:
    judged = st.lists(st.integers(0, 4) | st.none(), min_size=count, max_size=count)
    answers = st.lists(SPOKEN | messages(ASSISTANT), min_size=count, max_size=count)
    return st.fixed_dictionaries(
        {"prompt": SPOKEN | st.lists(USER, min_size=1, max_size=2), "responses": answers, "scores": judged},
        optional={"ranking": judged, "tools": TOOLS},
    )


RANKED = st.integers(1, 4).flatmap(_ranked) | st.fixed_dictionaries(
    {"instruction": SPOKEN, "completions": st.lists(ITEM, min_size=1, max_size=3)}, optional={"models": st.just(["a"])}
)
STEPS = st.integers(1, 3).flatmap(
    lambda count: st.fixed_dictionaries(
        {
            "prompt": SPOKEN | st.lists(USER, min_size=1, max_size=2),
            "completions": st.lists(SPOKEN, min_size=count, max_size=count),
            "labels": st.lists(st.booleans() | st.integers(0, 1), min_size=count, max_size=count),
        }
    )
)
PREFERENCE = PAIRS | VERDICTS | RANKED | STEPS

SPLIT = st.fixed_dictionaries(
    {"prompt": messages(USER | ROLE_MESSAGE), "completion": messages(ASSISTANT) | SPOKEN}, optional={"tools": TOOLS}
) | st.fixed_dictionaries({"prompt": SPOKEN, "completion": messages(ASSISTANT) | ASSISTANT})
"""Prompt and completion as messages."""
