"""Convert: files, or rows in memory, from one format into another, or into their own.

A file that keeps its format and container is written again byte by byte but for the rows that `edit` changes. Anything
else is made anew, and what would be lost is found by reading each new row back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from didact.convert.items import Element, Item, elements
from didact.convert.losses import Conversion, Ledger
from didact.convert.memory import memory_elements
from didact.convert.records import Edit, Given, Rewriter, Writer
from didact.convert.targets import WRITE, write_objects
from didact.durable import atomic_dir, write_with
from didact.engine.local import without_cycle_collector
from didact.errors import CallError, WouldLose
from didact.formats.registry import Adapter, chosen, get
from didact.formats.writing import Loss
from didact.recipe.sources import Unit
from didact.records import Header
from didact.records.findings import CODES, Finding
from didact.report.progress import Listener, Silent
from didact.sources.blocks import BLOCK_BYTES, ROW_LIMIT, Block, SourceFile
from didact.sources.containers import JSON, Container
from didact.sources.cutting import read_blocks
from didact.sources.endings import COMPRESSED, bare_suffix
from didact.sources.gathering import FileHeaders, NewRow, elements_of, object_name, objects_of
from didact.sources.given import given_source
from didact.sources.plan import plan_source
from didact.sources.reading import header_of
from didact.sources.rewriting import rewrite
from didact.sources.spool import Spool

BY_SUFFIX: dict[str, Container] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonlines": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".txt": "text",
}
"""What an ending says about a file to be written."""


@dataclass(slots=True)
class _Job:
    """One call: what is to become of every file."""

    adapter: Adapter
    columns: Mapping[str, str]
    edit: Edit | None
    ledger: Ledger
    tell: Listener

    def told(self) -> None:
        """Say how far the conversion is."""
        self.tell.advance(self.ledger.report.records, None, "records")


def convert(
    given: Any,
    out: str | Path | None = None,
    *,
    to: str,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    names: Sequence[str] = (),
    unit: Unit = "paragraphs",
    allow_loss: bool = False,
    overwrite: bool = False,
    edit: Edit | None = None,
    tell: Listener | None = None,
) -> Conversion:
    """Write records in another format, or in their own with `edit` applied.

    given: a file, folder or glob, or a list of them; or rows in memory: dicts, records, a data frame, a data set.
    out: the file to write, a folder when `given` is a folder or a glob; its ending says the container and how it is
        compressed, else both are as they were. None: nothing is written, and the report holds the new rows.
    to: the format to write; `format`: the one to read.
    columns: which key of a row holds what; names: of the columns of CSV and TSV files without a line of names;
        unit: what one record of plain text is. All as in a recipe.
    edit: called with every record; gives the record to be written.

    Raises WouldLose, which carries the report, when something would be lost; nothing is written then, unless
    `allow_loss`. Raises CallError for a call that cannot be meant, StoreError when the disk refuses. Whatever is
    raised, what stood under `out` before is still there, and nothing else is.
    """
    adapter = get(*chosen(to, Path.cwd()))
    if adapter.write is None:
        raise CallError(f"format '{to}' can be read, but not written; `didact formats` says which can")
    job = _Job(adapter, columns or {}, edit, Ledger(Conversion(to)), tell if tell is not None else Silent())
    job.tell.stage("convert")
    with without_cycle_collector():
        if _are_paths(given):
            _convert_files(job, given, out, format, names, unit, allow_loss, overwrite)
        else:
            _convert_rows(job, given, out, format, allow_loss, overwrite)
    return job.ledger.report


def _are_paths(given: Any) -> bool:
    if isinstance(given, str | Path):
        return True
    return isinstance(given, list | tuple) and bool(given) and all(isinstance(one, str | Path) for one in given)


def _settled(job: _Job, allow_loss: bool) -> None:
    """The end of writing: whether what was written may have its name. Raises WouldLose."""
    if job.ledger.report.losses and not allow_loss:
        raise WouldLose(_refusal(job.ledger.report), job.ledger.report)


def _refusal(report: Conversion) -> str:
    first = report.losses[0]
    return (
        f"{report.losing:,} of {report.records:,} records would lose something, such as "
        f"'{first.pointer or 'the whole record'}' ({first.why}) at {first.first}; nothing was written. "
        "Allow it with --allow-loss"
    )


def _convert_files(
    job: _Job,
    given: Any,
    out: str | Path | None,
    format: str,
    names: Sequence[str],
    unit: Unit,
    allow_loss: bool,
    overwrite: bool,
) -> None:
    paths = [str(path) for path in ([given] if isinstance(given, str | Path) else given)]
    source = given_source(paths, format=format, columns=dict(job.columns), names=list(names), unit=unit)
    with Spool() as spool:
        files = plan_source("convert", source, Path.cwd(), spool)
        alone = len(files) == 1 and len(paths) == 1 and Path(paths[0]).is_file()
        _write_files(job, files, out, alone, allow_loss, overwrite)


def _write_files(
    job: _Job, files: Sequence[SourceFile], out: str | Path | None, alone: bool, allow_loss: bool, overwrite: bool
) -> None:
    """Convert files into `out`; `alone` when the call named just one, which becomes a file and no folder."""
    if out is None:
        for file in files:
            job.ledger.report.files.append({"path": file.relative, "format": file.format, "written": ""})
            job.ledger.report.rows += _in_memory(job, _new_rows(job, _of_file(job, file), file.format, ""))
        _settled(job, allow_loss)
        return
    target = Path(out)
    _require_free(target, files, overwrite)
    into_folder = not alone or (job.adapter.list_key is not None and not bare_suffix(target))
    if into_folder:
        with atomic_dir(target) as aside:
            for file in files:
                _convert_file(job, file, aside / file.relative, many=alone)
            _settled(job, allow_loss)
        return

    def write(aside: Path) -> None:
        _convert_file(job, files[0], aside, shown=target.name)
        _settled(job, allow_loss)

    write_with(target, write)


def _require_free(target: Path, files: Sequence[SourceFile], overwrite: bool) -> None:
    """Raises CallError when OUT is an input or lies around one, or is there already."""
    own = target.resolve()
    for file in files:
        if own == file.path.resolve() or own in file.path.resolve().parents:
            raise CallError(f"{target}: is what is read; name another place for the result")
    if target.exists() and not overwrite:
        raise CallError(f"{target}: is there already; choose another name, or replace it with --overwrite")


def _convert_file(job: _Job, file: SourceFile, target: Path, *, shown: str = "", many: bool = False) -> None:
    """Convert one file; `many` lets a format of one object write several, into the folder of `target`."""
    name = shown or target.name
    container = _container(job.adapter, file, Path(name))
    same = file.format == job.adapter.name and container == file.container
    if container == "object" and bare_suffix(Path(name)) != ".json" and not same:
        target = target.with_name(_as_json(target.name))
        name = _as_json(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    job.ledger.report.files.append({"path": file.relative, "format": file.format, "written": name})
    if same:
        _rewrite(job, file, target)
    elif container == "object" and many:
        write_objects(target.parent, _new_rows(job, _of_file(job, file), file.format, ""), job.adapter)
    else:
        rows = _new_rows(job, _of_file(job, file), file.format, name)
        WRITE[container](target, rows, job.adapter, job.ledger)


def _as_json(name: str) -> str:
    """A file's name with the ending of JSON."""
    packed = next((ending for ending in COMPRESSED if name.lower().endswith(ending)), "")
    return f"{Path(name[: len(name) - len(packed)]).stem}.json{packed}"


def _container(adapter: Adapter, file: SourceFile, target: Path) -> Container:
    """What a file is written as: as it was when the ending stays, or says nothing, else what the ending says."""
    suffix = bare_suffix(target)
    kept = suffix == bare_suffix(file.path) or suffix not in BY_SUFFIX
    container = file.container if kept else BY_SUFFIX[suffix]
    if container in ("parquet", "arrow") and target.suffix.lower() in COMPRESSED:
        raise CallError(f"{target.name}: a {container} file is compressed inside; leave '{target.suffix}' out")
    if adapter.list_key is not None:
        if suffix in BY_SUFFIX and suffix != ".json" and not kept:
            raise CallError(f"{target.name}: format '{adapter.name}' is one JSON object; give OUT the ending .json")
        return "object"
    if container == "object":
        return "json"
    if container in ("html", "warc") and (file.format != adapter.name or not kept):
        return "jsonl"
    return "jsonl" if container == "text" and adapter.name != "text" and kept else container


def _rewrite(job: _Job, file: SourceFile, target: Path) -> None:
    """A file in its own format and container: every byte stays that no edit changes."""
    adapter, report = job.adapter, job.ledger.report
    rewriter = Rewriter(adapter, job.columns, job.edit, job.ledger)

    def changes(block: Block) -> Iterator[tuple[int, Any]]:
        header = header_of(block, adapter)
        for element in elements(block, adapter, job.columns, header):
            _count_copied(report, element)
            given = Given(element, file.relative, file.format, header if isinstance(header, Header) else None)
            value = rewriter.value(given)
            if value is not element.value:
                yield element.place, value
        job.told()

    def cut_off(finding: Finding) -> tuple[()]:
        if CODES[finding.code].row:
            _count_copied(report, _lost(finding))
        return ()

    damage = rewrite(file, target, changes, mend=cut_off, list_key=adapter.list_key)
    if damage is not None:
        lost = Loss("", f"the file is damaged, and what follows the damage cannot be copied: {damage}")
        job.ledger.lost(file.relative, [lost])


def _count_copied(report: Conversion, element: Element) -> None:
    report.records += len(element.items)
    report.written += len(element.items)
    report.copied.update(item.code for item in element.items if item.record is None)


def _lost(finding: Finding) -> Element:
    return Element(-1, None, [Item(finding.line, "", None, None, finding.code)])


def _of_file(job: _Job, file: SourceFile) -> Iterator[Given]:
    """Everything in a file, in order."""
    adapter = get(file.format, file.plugin)
    for found in read_blocks(file, BLOCK_BYTES, ROW_LIMIT, adapter.list_key):
        if isinstance(found, Finding):
            if CODES[found.code].row:
                yield Given(_lost(found), file.relative, file.format)
            continue
        header = header_of(found, adapter)
        own = header if isinstance(header, Header) else None
        is_json = file.container in JSON
        for element in elements(found, adapter, job.columns, header):
            raw = found.row(element.place) if is_json else b""
            yield Given(element, file.relative, file.format, own, raw)
        job.told()


def _new_rows(job: _Job, stream: Iterable[Given], format: str, name: str) -> Iterator[NewRow]:
    """Rows of the target format; `name` is the one file for them, none when each header gets a file of its own."""
    rows = _row_maker(job, format, name)
    for given in stream:
        yield from rows(given)


def _row_maker(job: _Job, format: str, name: str) -> Callable[[Given], Iterator[NewRow]]:
    if format == job.adapter.name and job.adapter.list_key is None:
        return Rewriter(job.adapter, job.columns, job.edit, job.ledger).rows
    headers = FileHeaders(job.adapter, (lambda _: name) if name else object_name)
    return Writer(job.adapter, job.edit, job.ledger, headers).rows


def _convert_rows(
    job: _Job, given: Any, out: str | Path | None, format: str, allow_loss: bool, overwrite: bool
) -> None:
    found_format, stream = memory_elements(given, format, job.columns)
    job.ledger.report.files.append(
        {"path": "<rows>", "format": found_format, "written": Path(out).name if out is not None else ""}
    )
    if out is None:
        job.ledger.report.rows += _in_memory(job, _new_rows(job, stream, found_format, ""))
        _settled(job, allow_loss)
        return
    target = Path(out)
    _require_free(target, (), overwrite)
    container = _container(job.adapter, SourceFile("", Path("rows.jsonl"), "", "jsonl", found_format), target)

    def write(aside: Path) -> None:
        WRITE[container](aside, _new_rows(job, stream, found_format, target.name), job.adapter, job.ledger)
        _settled(job, allow_loss)

    write_with(target, write)


def _in_memory(job: _Job, rows: Iterator[NewRow]) -> list[Any]:
    """New rows as values; of formats that are one object, the objects."""
    if job.adapter.list_key is not None:
        return [orjson.loads(text) for _, text in objects_of(rows, job.adapter)]
    return [orjson.loads(text) for text in elements_of(rows, job.adapter)]
