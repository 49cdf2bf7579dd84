"""Hold out: the split of the kept rows, and the check that nothing held out is also in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.build.compare import PromptSets
from didact.build.rows import Rows
from didact.build.stage_results import Result
from didact.curate.order import among
from didact.curate.split import SPLITS, TEST, VALIDATION, SplitInput, share_quotas, split_rows
from didact.errors import AccountingError
from didact.recipe.load import Recipe
from didact.store.manifest import LeakCheck, SplitEntry


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The split of every row of a build (-1: dropped before), per-source counts, and the leak check."""

    split: NDArray[np.int8]
    entries: dict[str, SplitEntry]
    leak_check: LeakCheck | None

    def as_result(self) -> Result:
        """The split, to be put on file."""
        entries = {name: entry.model_dump() for name, entry in self.entries.items()}
        check = None if self.leak_check is None else self.leak_check.model_dump()
        return Result(pa.table({"split": self.split}), {"entries": entries, "leak_check": check})

    @classmethod
    def of(cls, result: Result) -> Self:
        """What `as_result` gave."""
        table, facts = result
        entries = {name: SplitEntry.model_validate(entry) for name, entry in facts["entries"].items()}
        check = None if facts["leak_check"] is None else LeakCheck.model_validate(facts["leak_check"])
        return cls(table["split"].to_numpy().astype(np.int8), entries, check)


def hold_out(rows: Rows, alive: NDArray[np.bool_], recipe: Recipe, threads: int = 1) -> HeldOut:
    """Split the living rows. Raises EmptySplit when what was asked cannot be held out."""
    living = np.flatnonzero(alive)
    settings = recipe.split
    quotas = _quotas(rows, living, recipe)
    prompts = PromptSets(rows, living, recipe.dedup.minhash.ngram if recipe.dedup.minhash else 5, threads)
    names = ["prompt_key", "group_key", *(["task_key"] if settings.by == "task" else [])]
    keys = [column[living] for column in rows.columns(names)]
    given = SplitInput(rows.ids[living], rows.source[living], tuple(key.astype(np.uint64) for key in keys))
    chosen = split_rows(
        given,
        settings,
        quotas,
        f"{recipe.seed}",
        lambda held, train: prompts.near_copies(held, train, settings.similarity),
    )
    split = np.full(len(rows), -1, np.int8)
    split[living] = chosen
    return HeldOut(split, _entries(rows, split, quotas), _checked(rows, living, chosen, prompts, settings.similarity))


def _quotas(rows: Rows, living: NDArray[np.int64], recipe: Recipe) -> dict[int, tuple[int, int]]:
    counts = np.bincount(rows.source[living], minlength=len(rows.sources))
    giving = recipe.split.sources if recipe.split.sources is not None else rows.sources
    return share_quotas(
        {code: int(counts[code]) for code, name in enumerate(rows.sources) if name in giving and counts[code]},
        recipe.split,
    )


def _entries(rows: Rows, split: NDArray[np.int8], quotas: dict[int, tuple[int, int]]) -> dict[str, SplitEntry]:
    entries = {}
    for code, name in enumerate(rows.sources):
        own = split[rows.source == code]
        wanted = quotas.get(code, (0, 0))
        requested = {SPLITS[VALIDATION]: wanted[0], SPLITS[TEST]: wanted[1]}
        entries[name] = SplitEntry(
            requested=requested, achieved={label: int((own == place).sum()) for place, label in enumerate(SPLITS)}
        )
    return entries


def _checked(
    rows: Rows, living: NDArray[np.int64], split: NDArray[np.int8], prompts: PromptSets, threshold: float
) -> LeakCheck | None:
    """Compare held-out rows with training once more, from the prompts themselves;
    a leak here would be a defect of the split.
    """
    held = split != 0
    if not held.any():
        return None
    keys = rows.column("prompt_key")[living]
    same = among(keys[held], keys[~held]) & (keys[held] != 0)
    near = prompts.near_copies(np.flatnonzero(held), np.flatnonzero(~held), threshold) & held
    if same.any() or near.any():
        raise AccountingError(
            f"leak check: {int(same.sum())} held-out prompts equal and {int(near.sum())} resemble a training prompt; "
            f"this is a defect of Didact, please report it"
        )
    return LeakCheck(threshold=threshold, held_out=int(held.sum()), same_prompt=0, near_prompt=0)
