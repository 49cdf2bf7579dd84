"""What workers of a build are forked with: imported once, by the process they are forked from.

Importing this module loads the code of the stages that workers run, and their kernels, by running them over a few
records in memory. A kernel takes longer to load from its cache than a thousand records take to go through it. Nothing
here may start a thread: a thread of the parent does not exist in what is forked from it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from didact.build import count, losses, per_record, shard_files, side_columns
from didact.build.depends import SIGNALS
from didact.engine.unused import leave_out_unused
from didact.recipe.cleaning import CleanSettings
from didact.recipe.selection import MinHashSettings
from didact.recipe.sources import Source
from didact.records import QA, PlainText
from didact.records.columns import Columns, Place, to_table
from didact.records.forms import forms_of, slots_of
from didact.render.byte_pairs import load_encoder
from didact.sources.blocks import Block, SourceFile
from didact.sources.casting_json import FEWEST
from didact.sources.read import read_block
from didact.text.slots import Room, Taken

__all__ = ["count", "losses", "per_record", "shard_files", "side_columns"]

_RECORDS = 300
"""Enough for cleaning to use its kernels."""


def _read_rows() -> None:
    """Read a few rows of JSON that are alike."""
    row = b'{"prompt":"What?","completion":"That."}'
    lines = np.arange(1, FEWEST + 1)
    ends = lines * (len(row) + 1) - 1
    block = Block("", "", "jsonl", 0, b"\n".join([row] * FEWEST), ends - len(row), ends, lines)
    file = SourceFile("", Path(), "", "jsonl", "prompt_completion")
    read_block(block, file, Source(path="rows", format="prompt_completion"), into=Columns())


def _run_kernels() -> None:
    leave_out_unused()
    _read_rows()
    # The blank at the end is for the kernel that writes clean texts, what UTF-8 gives when read as Latin-1 for ftfy.
    records = [QA(id="0" * 32, question=f"What is {n}, “word”? ", answers=[]) for n in range(_RECORDS)]
    table = to_table([*records, PlainText(id="0" * 32, text="CafÃ©.")], [Place("", 0, 1, 0)] * (_RECORDS + 1))
    table, keys, _, _ = per_record.cleaned(table, CleanSettings(), "")
    side_columns.side_columns(table, keys, "", SIGNALS, MinHashSettings())
    rows = np.arange(len(table))
    taken = Taken(slots_of(table), rows, rows)
    Room.of([taken], len(rows)).put(taken)
    forms_of(table).canonical()
    load_encoder()


_run_kernels()
