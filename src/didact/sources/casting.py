"""A block whose rows are cast: those that are alike become columns in the mould of one of them, no other record is made
for them, and the rest are read for themselves.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.errors import AccountingError
from didact.records.base import text_of
from didact.records.checks import check_texts
from didact.records.columns import Columns
from didact.records.doubts import EMPTY
from didact.records.screen_kernel import doubts_of_columns
from didact.sources.block_read import BlockRead
from didact.sources.casting_json import cast_json
from didact.sources.casting_rows import CastInTurn
from didact.sources.containers import JSON
from didact.sources.moulds import CastRows
from didact.sources.reading_alone import read_alone
from didact.sources.row_reader import RowReader
from didact.sources.rows import Row, rows


def read_together(read: BlockRead, reader: RowReader, row_limit: int, into: Columns) -> None:
    """Read the rows of a block, check what they say, and account for each."""
    block, start = reader.block, len(into)
    if block.container in JSON and not reader.source.where:
        left = np.ones(len(block), np.bool_)
        for cast in cast_json(reader, row_limit):
            left[cast.places[_put(read, cast, reader, into)]] = False
        read_alone(read, reader, rows(block, row_limit, np.flatnonzero(left)), into)
    else:
        taking = CastInTurn(reader)
        read_alone(read, reader, rows(block, row_limit), into, takes=taking.takes)
        for cast in taking.taken():
            if not _put(read, cast, reader, into).all():
                raise AccountingError(f"{block.path}: a row that says nothing was cast; please report this defect")
    into.in_row_order(start)
    read.in_row_order()


def _put(read: BlockRead, cast: CastRows, reader: RowReader, into: Columns) -> NDArray[np.bool_]:
    """Put the records of rows into columns, unless their problems leave them none. For each row whether that was done
    or it was rejected; a row of whose texts one says nothing must be read for itself.
    """
    texts, block = cast.texts(), reader.block
    sizes = np.diff(cast.bounds)
    doubts = doubts_of_columns(texts, cast.roles(), cast.bounds)
    done = doubts & EMPTY == 0
    kept = done.copy()
    doubted = done & (doubts > 0)
    said = iter(texts.filter(pa.array(np.repeat(doubted, sizes))).to_pylist())
    for row in np.flatnonzero(doubted).tolist():
        mould, doubt = cast.kinds[cast.which[row]].mould, int(doubts[row])
        # A mould's fields are as many as the record's texts, so that `said` moves on by these.
        own = [*map(text_of, zip(mould.fields, mould.roles, said, strict=False))]
        if problems := check_texts(own, doubt):
            kept[row] = read.admit(block, Row(*block.place_of(cast.places[row]), None), problems)
    read.rows += int(done.sum())
    if not kept.all():
        texts = texts.filter(pa.array(np.repeat(kept, sizes)))
    numbers = np.array([into.number(kind.mould) for kind in cast.kinds], np.int64)
    places = cast.places[kept]
    identities = pa.array(cast.identities(), pa.binary(16)).filter(pa.array(kept))
    into.put_all(numbers[cast.which[kept]], texts, identities, block.path, block.first + places, block.lines[places])
    return done
