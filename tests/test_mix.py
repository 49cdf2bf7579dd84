"""Mix: exact amounts, exact order, and a way out of what cannot be mixed."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_mixes import SIZES, Mixed, carried_out, mixes, pasted, supplies_of, supply

from didact.curate.draw import Supply, draw, interleave
from didact.curate.nearest import plan_mix
from didact.curate.shares import as_written, largest_remainder, temperature_shares, within_limits
from didact.errors import ImpossibleMix
from didact.recipe.mixes import Blend, Mix


def mix(**given_settings: Any) -> Mix:
    """A mix of settings."""
    return Mix.model_validate(given_settings)


def planned(given_settings: dict[str, Any], supplies: dict[str, Supply]) -> dict[str, int]:
    """Amounts of a mix without phases."""
    return plan_mix("m", mix(**given_settings), supplies).phases[0]


@given(st.integers(0, 10_000), st.lists(st.floats(0.01, 100), min_size=1, max_size=6))
def test_largest_remainder_is_exact(total: int, weights: list[float]) -> None:
    """Parts add up to the total, and no part is a whole unit away from its exact share."""
    named = {str(i): weight for i, weight in enumerate(weights)}
    parts = largest_remainder(total, named)
    assert sum(parts.values()) == total
    whole = sum(map(Fraction, weights))
    assert all(abs(parts[name] - total * Fraction(weight) / whole) < 1 for name, weight in named.items())


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 10**9), min_size=1), st.floats(1, 50))
def test_temperature_flattens_sizes(sizes: dict[str, int], temperature: float) -> None:
    """Shares are sizes to the power of 1/T, below the cap those of the cap, and in the order of the sizes."""
    shares = temperature_shares(sizes, temperature, 10**6)
    for name, share in shares.items():
        assert float(share) == pytest.approx(min(sizes[name], 10**6) ** (1 / temperature), rel=1e-12)


@given(st.integers(1, 300), st.lists(st.tuples(st.integers(1, 9), st.integers(0, 90)), min_size=1, max_size=5))
def test_who_runs_out_leaves_its_share_to_the_others(total: int, sources: list[tuple[int, int]]) -> None:
    """Nobody gives more than it has; all together give the total or all they have; the others keep their ratios."""
    weights = {str(i): Fraction(weight) for i, (weight, _) in enumerate(sources)}
    limits = {str(i): limit for i, (_, limit) in enumerate(sources)}
    parts, out = within_limits(total, weights, limits)
    assert sum(parts.values()) == min(total, sum(limits.values()))
    assert all(part <= limits[name] for name, part in parts.items())
    assert all(parts[name] == limits[name] for name in out)
    rest = {name: weight for name, weight in weights.items() if name not in out}
    pool = sum(parts[name] for name in rest)
    assert all(abs(parts[name] - pool * weight / sum(rest.values())) < 1 for name, weight in rest.items())
    level = max((Fraction(parts[name]) / weights[name] for name in out), default=Fraction(0))
    assert all(parts[name] + 1 > level * weight for name, weight in rest.items())


@given(mixes())
@settings(max_examples=100)
def test_a_mix_is_exact_or_refused_with_ways_out(given_mix: tuple[dict[str, Any], list[list[int]]]) -> None:
    """Whatever the recipe asks for is done exactly, or refused with changes of which each makes the mix possible."""
    asked, sizes = given_mix
    supplies = supplies_of(sizes)
    try:
        done = carried_out(mix(**asked), supplies)
    except ImpossibleMix as refusal:
        ways = pasted(asked, str(refusal))
        assert ways or "nothing of it can be mixed" in str(refusal)
        for way in ways:
            carried_out(mix(**way), supplies)
        return
    _check_amounts(mix(**asked), supplies, done)
    _check_rows(supplies, done)


def _check_amounts(asked: Mix, supplies: dict[str, Supply], done: Mixed) -> None:
    """Planned amounts are what the settings say, by rational arithmetic of their own."""
    given_before = dict.fromkeys(supplies, 0)
    for blend, amounts in zip(asked.blends, done.planned, strict=True):
        assert amounts.keys() == blend.sources.keys()
        left = {name: _left(blend, name, supplies[name].total, given_before[name]) for name in amounts}
        shared = {name: amount for name, amount in amounts.items() if not _fixed(blend, name)}
        for name, portion in blend.sources.items():
            if portion.count is not None:
                assert amounts[name] == portion.count <= left[name]
            elif portion.epochs is not None:
                assert abs(amounts[name] - Fraction(repr(portion.epochs)) * supplies[name].total) <= Fraction(1, 2)
            else:
                assert amounts[name] <= left[name]
        if blend.budget is not None:
            assert sum(amounts.values()) == blend.budget
        _check_ratios(blend, shared, left, supplies)
        for name, amount in amounts.items():
            given_before[name] += amount


def _fixed(blend: Blend, name: str) -> bool:
    return blend.sources[name].epochs is not None or blend.sources[name].count is not None


def _left(blend: Blend, name: str, total: int, before: int) -> int:
    most = blend.sources[name].max_epochs
    epochs = Fraction(repr(most)) if most is not None else Fraction(blend.repeats)
    return max(0, math.floor(epochs * total) - before)


def _check_ratios(blend: Blend, shared: dict[str, int], left: dict[str, int], supplies: dict[str, Supply]) -> None:
    """Sources that did not run out are within one unit of their exact share of what these give together."""
    weights = {name: _weight(blend, name, supplies[name].total) for name in shared}
    if blend.on_exhaust == "renormalise":
        level = max((Fraction(amount) / weights[name] for name, amount in shared.items()), default=Fraction(0))
        out = {name for name, amount in shared.items() if amount == left[name] and amount < level * weights[name]}
    else:
        out = set()
    rest = shared.keys() - out
    pool, whole = sum(shared[name] for name in rest), sum(weights[name] for name in rest)
    for name in rest:
        assert abs(shared[name] - pool * weights[name] / whole) < 1 + Fraction(1, 10**9)


def _weight(blend: Blend, name: str, total: int) -> Fraction:
    if blend.temperature is None:
        return Fraction(repr(blend.sources[name].share))
    return Fraction(min(total, blend.cap or total) ** (1 / blend.temperature))


def _check_rows(supplies: dict[str, Supply], done: Mixed) -> None:
    """Rows drawn come to the amounts within a row, phase by phase, and repeat only after all were seen."""
    names = list(done.drawn)
    for code, name in enumerate(names):
        sizes = supplies[name].sizes
        target = 0
        for phase, amounts in enumerate(done.planned):
            target += amounts.get(name, 0)
            until = (done.order.sources == code) & (done.order.phases <= phase)
            assert abs(int(sizes[done.order.rows[until]].sum()) - target) <= sizes.max() / 2
            own = (done.order.sources == code) & (done.order.phases == phase)
            assert abs(int(sizes[done.order.rows[own]].sum()) - amounts.get(name, 0)) <= sizes.max()
        _check_epochs(done.order.rows[done.order.sources == code], done.order.epochs[done.order.sources == code], sizes)
    assert (np.diff(done.order.phases) >= 0).all()


def _check_epochs(rows: np.ndarray[Any, Any], epochs: np.ndarray[Any, Any], sizes: np.ndarray[Any, Any]) -> None:
    assert (np.diff(epochs) >= 0).all()
    for epoch in range(int(epochs.max(initial=0)) + 1):
        seen = rows[epochs == epoch].tolist()
        assert len(set(seen)) == len(seen)
        assert epoch == epochs.max(initial=0) or len(seen) == len(sizes)


@given(mixes(), st.randoms(use_true_random=False))
def test_order_of_rows_and_sources_changes_nothing(
    given_mix: tuple[dict[str, Any], list[list[int]]], chance: Any
) -> None:
    """Sources listed in another order, and rows found in another order, give the same rows in the same order."""
    asked, sizes = given_mix
    supplies = supplies_of(sizes)
    shuffled = {}
    for name in chance.sample(list(supplies), len(supplies)):
        order = np.array(chance.sample(range(len(supplies[name].ids)), len(supplies[name].ids)))
        shuffled[name] = Supply(supplies[name].ids[order], supplies[name].sizes[order])
    other = asked | {"sources": dict(reversed(asked["sources"].items()))} if "sources" in asked else asked
    try:
        expected = carried_out(mix(**asked), supplies).ids
    except ImpossibleMix as refusal:
        with pytest.raises(ImpossibleMix) as again:
            carried_out(mix(**other), shuffled)
        assert str(again.value) == str(refusal)
        return
    assert carried_out(mix(**other), shuffled).ids == expected


@given(SIZES, st.integers(1, 3))
def test_phases_go_on_where_the_last_one_stopped(sizes: list[list[int]], parts: int) -> None:
    """A mix cut into phases takes the rows of the uncut mix, each once, when together they ask for one epoch."""
    supplies = {name: own for name, own in supplies_of(sizes).items() if own.total >= parts}
    cut = {
        name: largest_remainder(own.total, {str(part): 1 for part in range(parts)}) for name, own in supplies.items()
    }
    if not supplies:
        return
    phases = [{"sources": {name: {"count": cut[name][str(part)]} for name in supplies}} for part in range(parts)]
    whole = carried_out(mix(unit="tokens", sources={name: {"epochs": 1} for name in supplies}), supplies)
    done = carried_out(mix(unit="tokens", phases=phases), supplies)
    assert sorted(done.ids) == sorted(whole.ids)
    assert all(done.drawn[name].rows.tolist() == whole.drawn[name].rows.tolist() for name in supplies)
    assert set(done.order.epochs.tolist()) <= {0}


@given(st.lists(st.lists(st.integers(1, 50), min_size=3, max_size=40), min_size=2, max_size=4), st.data())
def test_token_shares_within_one_record(sources: list[list[int]], data: st.DataObject) -> None:
    """A mix by tokens achieves each source's planned amount within one record of that source."""
    supplies = {str(i): supply(sizes) for i, sizes in enumerate(sources)}
    shares = {name: {"share": data.draw(st.floats(0.1, 1))} for name in supplies}
    amounts = planned({"unit": "tokens", "sources": shares}, supplies)
    whole = sum(as_written(share["share"]) for share in shares.values())
    for name, amount in amounts.items():
        got = draw(name, supplies[name], [amount], "key")
        assert abs(int(supplies[name].sizes[got.rows].sum()) - amount) <= max(sources[int(name)])
        assert abs(amount - sum(amounts.values()) * as_written(shares[name]["share"]) / whole) < 1
        assert amount <= supplies[name].total


def test_shares_of_sources_with_lengths_tenfold_apart() -> None:
    """Half of the tokens come from records of about 20 tokens, half from records of about 200, within a record each."""
    chance = np.random.default_rng(1)
    supplies = {
        "short": supply(chance.integers(10, 30, 5000).tolist()),
        "long": supply(chance.integers(100, 300, 400).tolist(), 10_000),
    }
    done = carried_out(
        mix(
            unit="tokens",
            budget=100_000,
            sources={"short": {"share": 1}, "long": {"share": 1}},
            on_exhaust={"repeat": 3},
        ),
        supplies,
    )
    for name, own in done.drawn.items():
        assert abs(int(supplies[name].sizes[own.rows].sum()) - 50_000) <= supplies[name].sizes.max() / 2
    assert len(done.drawn["short"].rows) > 8 * len(done.drawn["long"].rows)


@given(st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=60), min_size=1, max_size=4))
def test_every_prefix_holds_the_ratio(sizes: list[list[int]]) -> None:
    """In every prefix of the interleaved order each source has given its share, within one row of each source."""
    arrays = [np.array(own, np.int64) for own in sizes]
    source, row = interleave(arrays)
    assert len(source) == sum(map(len, sizes))
    given_units = np.zeros(len(sizes))
    for s, r in zip(source.tolist(), row.tolist(), strict=True):
        given_units[s] += arrays[s][r]
        progress = given_units / [own.sum() for own in arrays]
        slack = max(own.max() / own.sum() for own in arrays)
        assert progress.max() - progress.min() <= 1.5 * slack + 1e-9


def test_scarcest_source_sets_the_size() -> None:
    """Without a budget the scarcest source gives one epoch, or its own bound, the others their exact ratio to it."""
    supplies = {"a": supply([1] * 90), "b": supply([1] * 60)}
    assert planned({"sources": {"a": {"share": 3}, "b": {"share": 1}}}, supplies) == {"a": 90, "b": 30}
    bounded = {"a": {"share": 3, "max_epochs": 1.5}, "b": {"share": 1}}
    assert planned({"sources": bounded}, supplies) == {"a": 135, "b": 45}
    equal = {"a": supply([1] * 3), "b": supply([1] * 3)}
    assert planned({"sources": {"a": {"share": 1}, "b": {"share": 0.1}}}, equal) == {"a": 3, "b": 0}


def test_temperature_1_without_a_budget_takes_everything_once() -> None:
    """Mixing by size is the union of the sources; a cap takes from the large one what the cap says."""
    supplies = {"a": supply([1] * 90), "b": supply([1] * 10)}
    assert planned({"temperature": 1, "sources": {"a": {}, "b": {}}}, supplies) == {"a": 90, "b": 10}
    assert planned({"temperature": 1, "cap": 30, "sources": {"a": {}, "b": {}}}, supplies) == {"a": 30, "b": 10}
    heated = {"temperature": 2, "budget": 40, "sources": {"a": {}, "b": {}}}
    assert planned(heated, supplies) == {"a": 30, "b": 10}


def test_exhaustion_policies() -> None:
    """A short source is an error that names the nearest possible mixes, is repeated, or leaves its share to the others,
    as told.
    """
    supplies = {"a": supply([1] * 10), "b": supply([1] * 100)}
    asked = {"unit": "records", "budget": 100, "sources": {"a": {"share": 1}, "b": {"share": 1}}}
    with pytest.raises(ImpossibleMix) as refusal:
        planned(asked, supplies)
    assert str(refusal.value) == (
        "mixes.m: source 'a' should give 50 records and can give 10; possible: mixes.m.budget: 20; or "
        "mixes.m.on_exhaust: {repeat: 5}; or mixes.m.on_exhaust: renormalise"
    )
    assert [planned(way, supplies) for way in pasted(asked, str(refusal.value))] == [
        {"a": 10, "b": 10},
        {"a": 50, "b": 50},
        {"a": 10, "b": 90},
    ]
    with pytest.raises(ImpossibleMix, match=r"possible: mixes.m.budget: 80"):
        planned(asked | {"on_exhaust": {"repeat": 4}}, supplies)
    with pytest.raises(ImpossibleMix, match=r"all sources together can give 110; possible: mixes.m.budget: 110"):
        planned(asked | {"budget": 120, "on_exhaust": "renormalise"}, supplies)


def test_upsampling_is_bounded_for_each_source() -> None:
    """A source's own bound holds where the others may repeat more often, and where they may not repeat at all."""
    supplies = {"a": supply([1] * 10), "b": supply([1] * 100)}
    sources = {"a": {"share": 1, "max_epochs": 2}, "b": {"share": 1}}
    with pytest.raises(ImpossibleMix, match=r"should give 40 records and can give 20; possible: mixes\.m\.budget: 40"):
        planned({"budget": 80, "sources": sources, "on_exhaust": {"repeat": 9}}, supplies)
    assert planned({"budget": 40, "sources": sources}, supplies) == {"a": 20, "b": 20}
    assert planned({"budget": 80, "sources": sources, "on_exhaust": "renormalise"}, supplies) == {"a": 20, "b": 60}


def test_fixed_amounts_come_before_shares() -> None:
    """Counts and epochs are given in full and the shares divide what the budget leaves; a budget that they do not meet
    is refused with the one they do.
    """
    supplies = {"a": supply([1] * 10), "b": supply([1] * 100), "c": supply([1] * 100)}
    sources: dict[str, Any] = {"a": {"epochs": 1}, "b": {"share": 1}, "c": {"share": 4}}
    assert planned({"budget": 60, "sources": sources}, supplies) == {"a": 10, "b": 10, "c": 40}
    for asked, told in (
        ({"sources": {"a": {"count": 11}}}, "11 records asked for, at most 10 can be given; possible: "
         "mixes.m.sources.a.count: 10; or mixes.m.on_exhaust: {repeat: 2}"),
        ({"budget": 9, "sources": sources}, "leaves nothing to share after the fixed 10; possible: mixes.m.budget: 11"),
        ({"budget": 9, "sources": {"a": {"epochs": 1}}}, "add up to 10 records, the budget is 9; possible: "
         "mixes.m.budget: 10"),
        ({"budget": 11, "sources": {"a": {"epochs": 1}}}, "add up to 10 records, the budget is 11; possible: "
         "mixes.m.budget: 10"),
    ):  # fmt: skip
        with pytest.raises(ImpossibleMix) as refusal:
            planned(asked, supplies)
        assert told in str(refusal.value)


def test_phases_share_what_the_sources_have() -> None:
    """What a phase took is gone for the later ones, unless they may repeat; the refusal names the phase."""
    supplies = {"a": supply([1] * 10), "b": supply([1] * 100)}
    first = {"sources": {"a": {"share": 1}, "b": {"share": 1}}, "budget": 16}
    asked = {"phases": [first, {"sources": {"a": {"share": 1}, "b": {"share": 3}}, "budget": 40}]}
    with pytest.raises(ImpossibleMix) as refusal:
        plan_mix("m", mix(**asked), supplies)
    assert str(refusal.value).startswith(
        "mixes.m.phases[1]: source 'a' should give 10 records and can give 2; possible: mixes.m.phases[1].budget: 9; "
        "or mixes.m.phases[1].on_exhaust: {repeat: 2}"
    )
    for way, amounts in zip(pasted(asked, str(refusal.value)), ([2, 7], [10, 30], [2, 38]), strict=True):
        assert list(plan_mix("m", mix(**way), supplies).phases[1].values()) == amounts


def test_empty_source_is_refused() -> None:
    """A source without anything to train on is refused by name, and left out of the nearest possible mix."""
    supplies = {"a": supply([0, 0]), "b": supply([3])}
    with pytest.raises(ImpossibleMix, match="source 'a' has no tokens for training; nothing of it can be mixed"):
        planned({"unit": "tokens", "sources": {"a": {"share": 1}}}, supplies)
    with pytest.raises(ImpossibleMix, match=r"possible: without mixes\.m\.sources\.a$"):
        planned({"unit": "tokens", "sources": {"a": {"share": 1}, "b": {"share": 1}}}, supplies)
