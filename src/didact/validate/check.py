"""Validation of files: cuts them into blocks, has workers judge each, and puts the verdicts together.

The report is the same for any number of workers: counts are sums, and what is kept of the findings depends on their
places alone.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from didact.engine.local import LocalEngine, fitting_workers, without_cycle_collector
from didact.errors import CallError
from didact.recipe.sources import Source
from didact.records.findings import CODES, Finding
from didact.report.progress import Listener, Silent
from didact.sources.blocks import Block, SourceFile
from didact.sources.given import given_source
from didact.sources.memory import ROWS, as_paths
from didact.sources.plan import Planned, plan_files
from didact.sources.read import source_blocks
from didact.sources.spool import Spool
from didact.validate.blocks import CONTENT, BlockTask, BlockVerdict, judge
from didact.validate.repeats import Repeats, Rows, counts, first_of_each, in_order
from didact.validate.verdicts import FileVerdict, Report

if TYPE_CHECKING:
    from didact.validate.rendering import Rendering

_BLOCK_BYTES = 2 << 20


def validate(
    given: Any,
    format: str = "auto",
    *,
    query: str | None = None,
    columns: dict[str, str] | None = None,
    limit: int | None = None,
    where: dict[str, Any] | None = None,
    names: Sequence[str] = (),
    max_findings: int = 2,
    name: str = ROWS,
    tokenizer: str | Path | None = None,
    context: int | None = None,
    workers: int | None = 1,
    tell: Listener | None = None,
) -> Report:
    """Check every row of files, folders or globs, or of rows in memory; in bounded memory.

    given, query, name: as for `read`.
    columns, limit, where, names: as for a recipe's source; rows that they leave out are not counted.
    max_findings: located findings kept per file and code; all are counted.
    tokenizer: a tokenizer.json, or the folder or checkpoint it is in; then records are rendered too, and those without
    a trained token are told (RE003), and those longer than `context` tokens (RE007).
    workers: processes that check, which never changes the report: this one alone by default; None: one per core, but
    this one alone for small inputs. More need a script whose main module is guarded, as `multiprocessing` says.
    Raises InputMissing for a path that is not there, CallError when the format of the only file cannot be told or is
    not the one that was named. Of several files, one in no known format is reported as rejected.
    """
    listener = tell if tell is not None else Silent()
    settings = {"columns": columns, "limit": limit, "where": where, "names": list(names)}
    with Spool() as spool:
        source = given_source(as_paths(given, spool, name), format=format, query=query, **settings)
        planned = _readable(plan_files("validate", source, Path.cwd(), spool), source)
        rendering = _rendering(tokenizer, context)
        return _checked(planned, source, max_findings, rendering, workers, listener)


def _rendering(tokenizer: str | Path | None, context: int | None) -> Rendering | None:
    """How records are rendered. Raises CallError for a context without a tokenizer, or what is none."""
    if tokenizer is None:
        if context is not None:
            raise CallError("'context' counts tokens; name the tokenizer that makes them with 'tokenizer'")
        return None
    from didact.render.tokenizer import Tokenizer  # as in `judge`
    from didact.validate.rendering import Rendering

    Tokenizer.load(Path(tokenizer))
    return Rendering(str(tokenizer), context)


def _checked(
    planned: list[Planned],
    source: Source,
    max_findings: int,
    rendering: Rendering | None,
    workers: int | None,
    listener: Listener,
) -> Report:
    """The report on files that are planned."""
    listener.stage("validate")
    total = sum(one.file.path.stat().st_size for one in planned)
    tally = _Tally([one.file for one in planned], max_findings)
    with (
        without_cycle_collector(),
        LocalEngine(workers if workers is not None else fitting_workers(total)) as engine,
        Repeats() as repeats,
    ):
        for task, verdict in engine.map(judge, _tasks(planned, source, tally, max_findings, rendering)):
            tally.add(task, verdict)
            repeats.add(verdict.seen)
            share = tally.stored / total if total else None
            listener.advance(tally.rows, None, "rows", bytes=tally.stored, share=share or None)
        tally.add_mixed()
        tally.add_repeats(repeats)
    return Report(tally.verdicts, tally.located(), _root([one.file for one in planned]))


def _readable(planned: list[Planned], source: Source) -> list[Planned]:
    """The plan, unless it is the call that is wrong: it names a format, or the one file that cannot be read."""
    unfit = next((one for one in planned if one.unfit), None)
    if unfit is not None and (len(planned) == 1 or source.format != "auto"):
        raise CallError(f"{unfit.file.source}: '{unfit.file.relative}': {unfit.unfit}")
    return planned


def _root(files: Sequence[SourceFile]) -> str:
    """The folder that the files' paths are relative to, from the current one."""
    parts = len(Path(files[0].relative).parts)
    return os.path.relpath(files[0].path.parents[parts - 1])


def _tasks(
    planned: Sequence[Planned], source: Source, tally: _Tally, most: int, rendering: Rendering | None
) -> Iterator[BlockTask]:
    """The blocks of all files; what no worker needs to look at goes straight to the tally."""
    unfit = {one.file.relative: one.unfit for one in planned}
    numbers = {one.file.relative: number for number, one in enumerate(planned)}
    for order, (file, found) in enumerate(source_blocks([one.file for one in planned], source, _BLOCK_BYTES)):
        number = numbers[file.relative]
        if isinstance(found, Block):
            yield BlockTask(found, file, source, number, order, most, unfit[file.relative], rendering)
        else:
            tally.add_loose(number, order, found)


Place = tuple[int, int, int, int]
"""Where a finding stands among those of its file: line, offset, order of its block, place in the block."""
_FIRST, _LAST = (-1, 0), (sys.maxsize, 0)
"""Among the findings of one row."""


class _Tally:
    """Adds verdicts up, in whatever order they come."""

    def __init__(self, files: Sequence[SourceFile], most: int) -> None:
        self.verdicts = [FileVerdict(file.relative, file.format) for file in files]
        self.rows = 0
        self._most = most
        self._sizes = [file.path.stat().st_size for file in files]
        self._stored = [0] * len(files)
        self._located: defaultdict[tuple[int, str], list[tuple[Place, Finding]]] = defaultdict(list)
        self._others: defaultdict[tuple[int, str], list[Finding]] = defaultdict(list)

    @property
    def stored(self) -> int:
        """Bytes of the files, as stored, that are read."""
        return sum(self._stored)

    def add(self, task: BlockTask, verdict: BlockVerdict) -> None:
        """Add a block's verdict."""
        file = self.verdicts[task.number]
        file.records += verdict.valid + verdict.rejected
        file.valid += verdict.valid
        file.rejected += verdict.rejected
        file.findings.update(verdict.findings)
        self.rows += verdict.valid + verdict.rejected
        self._stored[task.number] = max(self._stored[task.number], task.block.stored)
        for place, finding in enumerate(verdict.located):
            self._locate(task.number, (finding.line, finding.offset, task.order, place), finding)
        for name, finding in verdict.others.items():
            self._others[task.number, name].append(finding)

    def add_loose(self, number: int, order: int, finding: Finding) -> None:
        """Add a finding about a file, or about a row that could not be cut out of it."""
        file, lost = self.verdicts[number], int(CODES[finding.code].row)
        file.records += lost
        file.rejected += lost
        file.findings[finding.code] += 1
        self._locate(number, (finding.line, finding.offset, order, 0), finding)

    def add_mixed(self) -> None:
        """Add a finding for each other format that rows of a file fit, where the first such row stands."""
        for (number, name), found in sorted(self._others.items()):
            file = self.verdicts[number]
            if file.valid:
                first = min(found, key=lambda one: (one.line, one.offset))
                message = f"not '{file.format}' as other rows, but '{name}'; put such rows into a file of their own"
                mixed = Finding("JS006", first.path, first.index, first.line, first.offset, "", message)
                file.findings[mixed.code] += 1
                self._locate(number, (first.line, first.offset, *_LAST), mixed)

    def add_repeats(self, repeats: Repeats) -> None:
        """Add the findings about rows that came before."""
        kept: list[Rows] = []
        for part in repeats.found():
            for (what, number), count in counts(part).items():
                self.verdicts[number].findings[_REPEAT_CODES[what]] += count
            kept.append(first_of_each(part, self._most))
        for row in first_of_each(in_order(kept), self._most):
            finding = self._repeat(row)
            self._locate(int(row["file"]), (finding.line, finding.offset, *_FIRST), finding)

    def _repeat(self, row: Any) -> Finding:
        what, number, index, line, offset = (int(row[name]) for name in ("what", "file", "index", "line", "offset"))
        earlier = f"{self.verdicts[int(row['first_file'])].path}:{int(row['first_line'])}"
        same = "the same content as" if what == CONTENT else "the same id of the author as"
        path = self.verdicts[number].path
        return Finding(_REPEAT_CODES[what], path, index, line, offset, "", f"{same} {earlier}")

    def _locate(self, number: int, place: Place, finding: Finding) -> None:
        """Keep the first few findings of a file and code."""
        kept = self._located[number, finding.code]
        kept.append((place, finding))
        kept.sort(key=lambda one: one[0])
        del kept[self._most :]

    def located(self) -> list[Finding]:
        """The kept findings of all files, in the order of their places."""
        every = [(number, place, found) for (number, _), kept in self._located.items() for place, found in kept]
        return [found for _, _, found in sorted(every, key=lambda one: one[:2])]


_REPEAT_CODES = ("DU001", "SC007")
"""By what was seen before."""
