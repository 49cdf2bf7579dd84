"""Over-long conversations that keep whole turns: which ones, and that every record and token is accounted for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizer import small_tokenizer
from toy_training import ToyDialogues, dialogue_shards, shards_of

from didact.errors import DataError, NoTrainedTokens
from didact.model.batches import BatchPlan, Policy, cut_documents
from didact.render.renderer import render_batch, render_dialogue

Turn = tuple[str, int, bool]
POLICIES: list[Policy] = ["drop", "head", "tail", "turns", "first_turns"]


@st.composite
def conversations(draw: st.DrawFn, longest: int) -> list[Turn]:
    """Turns in any order of roles; those of the assistant are trained or not."""
    roles = draw(st.lists(st.sampled_from(["system", "user", "user", "assistant", "assistant", "tool"]), max_size=9))
    return [
        (role, draw(st.integers(1, longest)), role == "assistant" and draw(st.integers(0, 3)) > 0) for role in roles
    ]


def is_trained(dialogue: list[Turn], first: int, last: int) -> bool:
    """Whether a stretch of turns has a token that carries loss: the first token of a turn never does."""
    return any(trained and tokens > 1 for _, tokens, trained in dialogue[first:last])


def size(dialogue: list[Turn], first: int, last: int) -> int:
    """Tokens of a stretch of turns."""
    return sum(tokens for _, tokens, _ in dialogue[first:last])


def expected_last(dialogue: list[Turn], context: int) -> tuple[int, int, int] | None:
    """By trying all: turns of the system prompt, first and last turn of what stays beside it; latest end, then most."""
    prompt = next((at for at, turn in enumerate(dialogue) if turn[0] != "system"), len(dialogue))
    roles = [turn[0] for turn in dialogue]
    asks = [at for at in range(prompt, len(roles)) if at == prompt or (roles[at] == "user" != roles[at - 1])]
    ends = [*asks[1:], len(roles)]
    possible = [
        (end, -first)
        for first in asks
        for at, end in enumerate(ends)
        if first <= asks[at]
        and size(dialogue, 0, prompt) + size(dialogue, first, end) - 1 <= context
        and is_trained(dialogue, asks[at], end)
    ]
    if not possible:
        return None
    end, first = max(possible)
    return prompt, -first, end


def fed(shards: ToyDialogues, plan: BatchPlan, document: int) -> list[int]:
    """Places in its document of the tokens that one piece feeds in, and of its last target."""
    (entry,) = plan.epoch(0).entries[plan.epoch(0).entries["document"] == document]
    head, start, length = (int(entry[name]) for name in ("head", "start", "length"))
    return [*range(head), *range(start, start + length - head + 1)]


@settings(deadline=None)
@given(st.lists(conversations(40), min_size=1, max_size=6), st.sampled_from([16, 64, 100]))
def test_turns_keeps_the_system_prompt_and_the_last_exchanges_that_fit(
    dialogues: list[list[Turn]], context: int
) -> None:
    """What stays of each over-long conversation is what trying every stretch of exchanges finds best."""
    shards = dialogue_shards(dialogues)
    expected = {}
    for at, dialogue in enumerate(dialogues):
        if size(dialogue, 0, len(dialogue)) - 1 > context and (best := expected_last(dialogue, context)):
            prompt, first, end = best
            inside = [*range(size(dialogue, 0, prompt)), *range(size(dialogue, 0, first), size(dialogue, 0, end))]
            expected[at] = inside
    try:
        plan = BatchPlan(shards, context, context, context, "turns", 0)
    except NoTrainedTokens:
        assert not expected
        return
    over = {at for at in plan.pieces.document.tolist() if size(dialogues[at], 0, len(dialogues[at])) - 1 > context}
    assert over == expected.keys()
    for at, places in expected.items():
        assert fed(shards, plan, at) == places


@settings(deadline=None)
@given(conversations(40), st.sampled_from([16, 64]))
def test_first_turns_keeps_the_beginning_up_to_the_last_trained_turn_that_fits(
    dialogue: list[Turn], context: int
) -> None:
    """What stays of an over-long conversation is its longest beginning of whole turns that ends with a trained one."""
    whole = len(dialogue)
    shards = dialogue_shards([dialogue])
    fitting = [
        end
        for end in range(1, whole + 1)
        if size(dialogue, 0, end) - 1 <= context and is_trained(dialogue, end - 1, end)
    ]
    over = size(dialogue, 0, whole) - 1 > context
    if over and not fitting:
        with pytest.raises(NoTrainedTokens):
            cut_documents(shards, context, "first_turns")
    elif over:
        plan = BatchPlan(shards, context, context, context, "first_turns", 0)
        assert fed(shards, plan, 0) == list(range(size(dialogue, 0, max(fitting))))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.one_of(conversations(300), conversations(3000)), min_size=1, max_size=12),
    st.sampled_from([64, 256, 1024, 4096]),
    st.sampled_from(POLICIES),
)
def test_no_record_disappears_uncounted_and_every_step_is_trained(
    dialogues: list[list[Turn]], context: int, policy: Policy
) -> None:
    """Under each policy: records add up, tokens add up, rows hold what they can, each batch has a trained token."""
    shards = dialogue_shards(dialogues)
    try:
        plan = BatchPlan(shards, context, 2 * context, context, policy, 0)
    except NoTrainedTokens:
        return
    report = plan.report()
    lost = sum(report[f"dropped_{why}"] for why in ("over_long", "untrained", "empty"))
    assert report["documents"] == len(dialogues) == report["whole"] + report["truncated"] + lost
    assert report["tokens"] + report["lost_tokens"] == sum(
        max(0, size(dialogue, 0, len(dialogue)) - 1) for dialogue in dialogues
    )
    batches = [batch for step in range(plan.steps_per_epoch) for batch in plan.step(step)]
    assert all(batch.weight > 0 and len(batch.ids) <= context for batch in batches)
    assert sum(len(batch.ids) for batch in batches) == report["tokens"]
    assert sum(int((batch.weights > 0).sum()) for batch in batches) == report["trained_tokens"]
    shares = report["shares"]
    assert shares["records"]["used"] + shares["records"]["lost"] == pytest.approx(1)
    assert shares["tokens"]["used"] + shares["tokens"]["lost"] == pytest.approx(1)


def test_the_token_before_a_gap_predicts_the_token_after_it() -> None:
    """Ids, targets and positions run on over the turns left out, as if the rest were the whole conversation."""
    shards = dialogue_shards(
        [[("system", 3, False), ("user", 9, False), ("assistant", 9, True), ("user", 2, False), ("assistant", 5, True)]]
    )
    plan = BatchPlan(shards, 16, 16, 16, "turns", 0)
    (batch,) = plan.step(0)
    ids = [*shards.ids[:3], *shards.ids[21:]]
    assert batch.ids.tolist() == ids[:-1]
    assert batch.targets.tolist() == ids[1:]
    assert batch.weights.tolist() == [0.0] * 5 + [1.0] * 4
    assert batch.positions.tolist() == list(range(9))


MESSAGES = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["system", "user", "assistant", "tool"]),
        st.text("ab 1\n", max_size=12),
    ),
    min_size=1,
    max_size=7,
)


@pytest.mark.parametrize("name", ["didact", "chatml", "llama3"])
@settings(deadline=None, max_examples=30)
@given(dialogue=MESSAGES)
def test_a_turn_begins_where_the_dialogue_before_it_ends(name: str, dialogue: list[dict[str, Any]]) -> None:
    """The renderer's turns are the bounds of the dialogues made of the first messages."""
    tokenizer = small_tokenizer(name)
    turns = render_batch([dialogue[:1], dialogue], tokenizer).turns
    ends = [render_dialogue(dialogue[:count], tokenizer).ids.size for count in range(len(dialogue))]
    assert turns.bounds.tolist() == [0, 1, 1 + len(dialogue)]
    assert turns.starts[1:].tolist() == ends


def test_documents_without_turns_are_told() -> None:
    """Plain text has no turns to keep."""
    with pytest.raises(DataError, match="no turns"):
        cut_documents(shards_of([100]), 16, "turns")


def test_repeats_of_the_mix_are_told() -> None:
    """Documents that the mix repeats, and their tokens, are counted apart."""
    shards = shards_of([5, 9, 17])
    shards.epochs = np.array([0, 1, 3])  # type: ignore[attr-defined]
    report = cut_documents(shards, 64, "split").report
    assert (report.repeated, report.repeated_tokens) == (2, 24)
