"""Assemble: mixes as ordered rows, and the shards that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from didact.build.count import Counts
from didact.build.hold_out import HeldOut
from didact.build.rows import Rows
from didact.build.shard_files import Context, Gather, ShardTask, message_keys, shard_count
from didact.curate.draw import Ordered, Supply, draw, in_training_order
from didact.curate.mix import MixPlan
from didact.curate.nearest import plan_mix
from didact.curate.order import I64
from didact.curate.split import SPLITS
from didact.errors import ImpossibleMix
from didact.recipe.load import Recipe
from didact.recipe.mixes import Mix, Portion, Purpose
from didact.remote.folder import Folder
from didact.store.manifest import Amounts, MixEntry, MixPhase, MixSource

_SUITS: dict[Purpose, frozenset[str]] = {
    "pretrain": frozenset({"qa", "task", "chat", "preference", "text"}),
    "finetune": frozenset({"qa", "task", "chat", "preference"}),
    "preference": frozenset({"preference"}),
}
"""Kinds of record that can serve a purpose."""


@dataclass(frozen=True, slots=True)
class MixedRows:
    """One mix: the rows of each split in training order, the epoch of each, and its entry in the manifest."""

    name: str
    purpose: Purpose
    rows: dict[str, I64]
    epochs: dict[str, NDArray[np.int32]]
    entry: MixEntry

    def phase_names(self, split: str) -> list[str | None] | None:
        """The phase of each row, None in splits that have none; no list where the mix has no phases."""
        if not self.entry.phases:
            return None
        if split != "train":
            return [None] * len(self.rows[split])
        return [phase.name for phase in self.entry.phases for _ in range(phase.rows)]


def wanted_mixes(recipe: Recipe, rows: Rows, train: NDArray[np.bool_]) -> dict[str, tuple[Purpose, Mix]]:
    """The recipe's mixes; without any, one of every source with training rows once for each purpose its kinds suit."""
    if recipe.mixes:
        return {name: (recipe.purpose(name), mix) for name, mix in sorted(recipe.mixes.items())}
    codes = rows.column("kind_code")
    kinds = {
        name: {KIND_CODES[code] for code in np.unique(codes[train & (rows.source == place)]).astype(int).tolist()}
        for place, name in enumerate(rows.sources)
    }
    spoken = {name: Portion(epochs=1.0) for name in rows.sources if kinds[name] - {"text"}}
    plain = {name: Portion(epochs=1.0) for name in rows.sources if "text" in kinds[name]}
    default: dict[str, tuple[Purpose, Mix]] = {}
    if spoken:
        default["finetune"] = ("finetune", Mix(sources=spoken))
    if plain:
        default["pretrain"] = ("pretrain", Mix(sources=plain))
    return default


def usable(rows: Rows, purpose: Purpose) -> NDArray[np.bool_]:
    """Rows whose kind suits a purpose."""
    kinds = rows.column("kind_code")
    return np.isin(kinds, [code for code, kind in enumerate(KIND_CODES) if kind in _SUITS[purpose]])


KIND_CODES = ("qa", "task", "chat", "preference", "text")
"""What the side column `kind_code` counts."""


def mix_rows(
    name: str, purpose: Purpose, mix: Mix, rows: Rows, held: HeldOut, counts: Counts | None, seed: int
) -> MixedRows:
    """Draw and order a mix's training rows, and collect its held-out ones.

    Raises ImpossibleMix when the sources cannot supply it.
    """
    fits = usable(rows, purpose)
    members = {source: rows.sources.index(source) for source in mix.taking_part}
    train = {
        source: np.flatnonzero(fits & (held.split == 0) & (rows.source == code)) for source, code in members.items()
    }
    _refuse_unsuited(name, purpose, train, rows)
    supplies = {source: Supply(rows.ids[own], _sizes(mix, own, counts)) for source, own in train.items()}
    plan = plan_mix(name, mix, supplies)
    drawn = [draw(source, supplies[source], plan.of(source), f"{seed}:{name}") for source in supplies]
    order = in_training_order(drawn, [supply.sizes for supply in supplies.values()])
    chosen = np.empty(len(order.rows), np.int64)
    for code, own in enumerate(train.values()):
        mine = order.sources == code
        chosen[mine] = own[order.rows[mine]]
    by_split = {"train": chosen} | {
        label: _held_out(held, code, fits, list(members.values()), rows)
        for code, label in ((1, "validation"), (2, "test"))
    }
    epochs = {label: np.zeros(len(rows_of), np.int32) for label, rows_of in by_split.items()}
    epochs["train"] = order.epochs.astype(np.int32)
    books = _Books(mix, {source: (own, _amounts(own, counts)) for source, own in train.items()}, counts)
    rows_of = {label: len(there) for label, there in by_split.items()}
    return MixedRows(name, purpose, by_split, epochs, books.entry(purpose, plan, order, chosen, rows_of))


def _refuse_unsuited(name: str, purpose: Purpose, train: dict[str, I64], rows: Rows) -> None:
    for source, own in train.items():
        if not len(own):
            kinds = sorted({kind for chunk in rows.chunks if chunk.source == source for kind in chunk.marker["kinds"]})
            raise ImpossibleMix(
                f"mixes.{name}: source '{source}' has no training record for the purpose '{purpose}' "
                f"(its kinds: {', '.join(kinds) or 'none'}); remove it from the mix or loosen its filters"
            )


def _sizes(mix: Mix, own: I64, counts: Counts | None) -> I64:
    if mix.unit == "records" or counts is None:
        return np.ones(len(own), np.int64)
    return (counts.tokens if mix.unit == "tokens" else counts.trained)[own]


def _held_out(held: HeldOut, split: int, fits: NDArray[np.bool_], members: list[int], rows: Rows) -> I64:
    return np.flatnonzero(fits & (held.split == split) & np.isin(rows.source, members))


@dataclass(frozen=True, slots=True)
class _Books:
    """What a mix has to choose from: the training rows of each source, and what they amount to in every unit."""

    mix: Mix
    sources: dict[str, tuple[I64, Amounts]]
    counts: Counts | None

    def entry(self, purpose: Purpose, plan: MixPlan, order: Ordered, chosen: I64, rows: dict[str, int]) -> MixEntry:
        """Planned beside achieved: of the whole mix, and of each phase where there are several."""
        names = self.mix.phase_names
        phases = []
        for place, name in enumerate(names):
            own = order.phases == place
            sources = self._achieved(plan.phases[place], order.sources[own], chosen[own], plan.exhausted[place])
            phases.append(MixPhase(name=name, rows=int(own.sum()), sources=sources))
        planned = {source: sum(plan.of(source)) for source in self.sources}
        achieved = self._achieved(planned, order.sources, chosen, set().union(*plan.exhausted))
        return MixEntry(purpose=purpose, unit=self.mix.unit, sources=achieved, phases=phases, rows=rows)

    def _achieved(self, planned: dict[str, int], source: I64, chosen: I64, exhausted: set[str]) -> dict[str, MixSource]:
        used = {name: chosen[source == code] for code, name in enumerate(self.sources) if name in planned}
        achieved = {name: _amounts(rows, self.counts) for name, rows in used.items()}
        total = sum(self._in_unit(amounts) for amounts in achieved.values()) or 1
        return {
            name: MixSource(
                planned=self._expected(planned[name], self.sources[name][1]),
                achieved=achieved[name],
                share=self._in_unit(achieved[name]) / total,
                epochs=len(rows) / len(self.sources[name][0]),
                unique_share=len(np.unique(rows)) / len(self.sources[name][0]),
                exhausted=name in exhausted,
            )
            for name, rows in used.items()
        }

    def _in_unit(self, amounts: Amounts) -> int:
        return int(getattr(amounts, self.mix.unit) or 0)

    def _expected(self, planned: int, whole: Amounts) -> Amounts:
        """The amount planned in the mix's unit, and what the same part of the source comes to in the others."""
        part = Fraction(planned, self._in_unit(whole))
        units = {unit: None if of is None else round(part * of) for unit, of in whole.model_dump().items()}
        return Amounts.model_validate(units)


def _amounts(rows: I64, counts: Counts | None) -> Amounts:
    if counts is None:
        return Amounts(records=len(rows))
    return Amounts(
        records=len(rows), tokens=int(counts.tokens[rows].sum()), trained_tokens=int(counts.trained[rows].sum())
    )


def logical_digest(mixes: list[MixedRows], rows: Rows) -> str:
    """Hash of the ordered logical rows of every mix and split:
    content key and epoch, in order; independent of any library's bytes.
    """
    keys = rows.keys("content")
    state = xxhash.xxh3_128()
    for mixed in mixes:
        for split in SPLITS:
            state.update(f"{mixed.name}/{split}/{len(mixed.rows[split])}\n".encode())
            state.update(np.ascontiguousarray(keys[mixed.rows[split]]).astype("<u8").tobytes())
            state.update(mixed.epochs[split].astype("<i4").tobytes())
    return state.hexdigest()


def shard_tasks(folder: Folder, mixes: list[MixedRows], rows: Rows, context: Context) -> Iterator[ShardTask]:
    """The shards of every mix and split, numbered in training order."""
    sizes = rows.column("size")
    optional = _optional_keys(rows)
    for mixed in mixes:
        for split in SPLITS:
            chosen, phases = mixed.rows[split], mixed.phase_names(split)
            count = shard_count(len(chosen), int(sizes[chosen].sum()))
            for number, part in enumerate(np.array_split(np.arange(len(chosen)), count) if count else []):
                name = f"data/{mixed.name}/{split}-{number:05d}-of-{count:05d}.parquet"
                yield ShardTask(
                    folder,
                    name,
                    mixed.purpose,
                    optional,
                    gather(rows, chosen[part]),
                    mixed.epochs[split][part],
                    None if phases is None else [phases[place] for place in part],
                    context,
                )


def gather(rows: Rows, chosen: I64) -> Gather:
    """Some rows of the build, to be read from the chunks that hold them."""
    chunk, inside = rows.locate(chosen)
    used, local = np.unique(chunk, return_inverse=True)
    return Gather(tuple(rows.chunks[index] for index in used), local.astype(np.int64), inside)


def _optional_keys(rows: Rows) -> tuple[str, ...]:
    found = {key for chunk in rows.chunks for key in chunk.marker["message_keys"]}
    return tuple(sorted(found))


def marks_of(table: pa.Table) -> dict[str, list[str]]:
    """What a chunk's marker says of its records for later: kinds, and optional message keys in use."""
    return {
        "kinds": sorted(table["kind"].unique().to_pylist()),
        "message_keys": sorted(message_keys(table["skeleton"])) if table.num_rows else [],
    }
