"""What is kept: filters, exact and near duplicates, as decisions over side columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from didact.build.compare import Comparison
from didact.build.rows import Rows
from didact.curate.dedup import exact_duplicates, keep_best
from didact.curate.filters import KEPT, bounds_of, decide, signals_of
from didact.curate.order import I64, U64
from didact.errors import AccountingError, NothingKept
from didact.recipe.selection import DedupSettings, FilterRule
from didact.records.table import hexadecimal
from didact.store.manifest import Account


@dataclass(frozen=True, slots=True)
class Loss:
    """Rows that one stage dropped for one reason, with the evidence for each."""

    stage: str
    reason: str
    rows: I64
    evidence: tuple[str, ...]
    kept: I64 | None = None
    """For duplicates, the row that was kept in place of each."""


@dataclass
class Fates:
    """Which rows are still there, and what became of the others."""

    rows: Rows
    alive: NDArray[np.bool_]
    losses: list[Loss] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)

    def drop(self, loss: Loss) -> None:
        """Drop rows. Raises AccountingError when one of them was dropped before."""
        if not self.alive[loss.rows].all():
            raise AccountingError(
                f"stage '{loss.stage}' dropped a row twice ({loss.reason}); this is a defect of Didact, please report "
                f"it"
            )
        self.alive[loss.rows] = False
        self.losses.append(loss)

    def close(self, stage: str, before: NDArray[np.bool_]) -> None:
        """Account for a stage, per source: in = kept + dropped. Raises AccountingError when that does not hold."""
        sources = self.rows.source
        for code, name in enumerate(self.rows.sources):
            own = sources == code
            dropped: dict[str, int] = {}
            for loss in self.losses:
                count = int((sources[loss.rows] == code).sum()) if loss.stage == stage else 0
                if count:
                    dropped[loss.reason] = dropped.get(loss.reason, 0) + count
            account = Account(
                stage=stage,
                source=name,
                rows_in=int((own & before).sum()),
                kept=int((own & self.alive).sum()),
                dropped=dropped,
            )
            check(account)
            self.accounts.append(account)


def check(account: Account, part: str = "") -> None:
    """Raise AccountingError unless in = kept + dropped + rejected. part: of the source, for the message."""
    if account.rows_in != account.kept + account.lost:
        raise AccountingError(
            f"stage '{account.stage}', source '{account.source}'{part}: {account.rows_in} rows in, {account.kept} kept "
            f"and {account.lost} lost; this is a defect of Didact, please report it"
        )


def refuse_nothing(fates: Fates) -> None:
    """Raise NothingKept, with what became of the rows stage by stage, when no row is left: an empty version would pass
    for a result.
    """
    if fates.alive.any():
        return
    read = sum(account.rows_in for account in fates.accounts if account.stage == "read")
    lost: dict[str, Counter[str]] = {}
    for account in fates.accounts:
        lost.setdefault(account.stage, Counter()).update(account.dropped | account.rejected)
    told = [
        f"{stage} lost {sum(reasons.values()):,} ({', '.join(f'{name} {n:,}' for name, n in reasons.most_common(3))})"
        for stage, reasons in lost.items()
        if reasons
    ]
    if not read:
        raise NothingKept("no record is left: the sources hold no row; check their paths, `where` and `limit`")
    raise NothingKept(
        f"no record is left of {read:,} rows: {', '.join(told)}; look at the inputs with `didact validate`, loosen the "
        "filters, or leave the source out"
    )


def takes_part(rows: Rows, sources: Sequence[str] | None) -> NDArray[np.bool_]:
    """Rows whose source is among those named; all when none are."""
    if sources is None:
        return np.ones(len(rows), np.bool_)
    codes = [code for code, name in enumerate(rows.sources) if name in sources]
    return np.isin(rows.source, codes)


def filter_rows(fates: Fates, rules: Sequence[FilterRule]) -> None:
    """Drop rows outside a bound; the first bound that fails, in the recipe's order, is the reason."""
    before = fates.alive.copy()
    rows = fates.rows
    for code, source in enumerate(rows.sources):
        bounds = bounds_of(rules, source)
        names = signals_of(bounds)
        own = np.flatnonzero(rows.source == code)
        values = dict(zip(names, rows.of(source).columns(names), strict=True)) if names else {}
        reasons = np.where(fates.alive[own], decide(values, bounds, len(own)), KEPT)
        for place, bound in enumerate(bounds):
            dropped = np.flatnonzero(reasons == place)
            if len(dropped):
                evidence = tuple(f"{bound.signal} = {value:.6g}" for value in values[bound.signal][dropped].tolist())
                fates.drop(Loss("filter", bound.reason, own[dropped], evidence))
    fates.close("filter", before)


def drop_duplicates(fates: Fates, losses: Sequence[Loss]) -> None:
    """Drop what `find_duplicates` found, and account for the stage."""
    before = fates.alive.copy()
    for loss in losses:
        fates.drop(loss)
    fates.close("dedup", before)


def find_duplicates(fates: Fates, settings: DedupSettings, threads: int = 1) -> list[Loss]:
    """Exact duplicates among the living rows, then near ones; the evidence names the row kept in the place of each."""
    part = takes_part(fates.rows, settings.sources)
    keys, ids = fates.rows.keys("content"), fates.rows.keys("id")
    rows = np.flatnonzero(fates.alive & part)
    losses: list[Loss] = []
    if settings.exact:
        twins, kept = exact_duplicates(keys[rows])
        if len(twins):
            evidence = tuple(f"same content as {key}" for key in _hex(ids[rows[kept]]))
            losses.append(Loss("dedup", "duplicate.exact", rows[twins], evidence, rows[kept]))
        rows = np.delete(rows, twins)
    if settings.minhash is not None:
        compare = Comparison(fates.rows, settings.minhash, threads)
        pairs, alike = compare.near_duplicates(rows)
        rows = rows[alike]
        twins, kept, similarity = keep_best(len(rows), pairs, compare.ranking(rows))
        if len(twins):
            like = zip(_hex(ids[rows[kept]]), similarity.tolist(), strict=True)
            evidence = tuple(f"Jaccard {share:.3f} with {key}" for key, share in like)
            losses.append(Loss("dedup", "duplicate.near", rows[twins], evidence, rows[kept]))
    return losses


_DUPLICATES = pa.schema(
    [("row", pa.int64()), ("reason", pa.dictionary(pa.int32(), pa.string())), ("evidence", pa.string()),
     ("kept", pa.int64())]
)  # fmt: skip


def duplicates_table(losses: Sequence[Loss]) -> pa.Table:
    """Duplicates as a table, to be put on file."""
    rows = [
        pa.table(
            {"row": loss.rows, "reason": [loss.reason] * len(loss.rows), "evidence": loss.evidence, "kept": loss.kept}
        ).cast(_DUPLICATES)
        for loss in losses
    ]
    return pa.concat_tables(rows).unify_dictionaries() if rows else _DUPLICATES.empty_table()


def duplicates_from(table: pa.Table) -> list[Loss]:
    """What `duplicates_table` wrote."""
    found = []
    for reason in ("duplicate.exact", "duplicate.near"):
        own = table.filter(pc.equal(table["reason"].cast(pa.string()), reason))
        if own.num_rows:
            rows, kept = (own[name].to_numpy().astype(np.int64) for name in ("row", "kept"))
            found.append(Loss("dedup", reason, rows, tuple(own["evidence"].to_pylist()), kept))
    return found


def _hex(keys: U64) -> list[str]:
    found: list[str] = hexadecimal(keys.astype("<u8").view(np.uint8).reshape(-1, 16)).to_pylist()
    return found
