"""Doubts about a record: what a check of its texts may find. One bit each; without the doubt the check is spared."""

from __future__ import annotations

TOKENS = 1
"""A control token of a chat template."""
SENTENCE = 1 << 1
"""`<s>` or `</s>`."""
ENTITIES = 1 << 2
LINE_ENDS = 1 << 3
"""A literal `\\n`."""
PLACEHOLDERS = 1 << 4
LOST = 1 << 5
"""A replacement character."""
MOJIBAKE = 1 << 6
UNSHOWN = 1 << 7
"""A character that is not seen."""
DECOMPOSED = 1 << 8
ANOTHER = 1 << 9
"""Another example behind an answer."""
IDENTITY = 1 << 10
TAGS = 1 << 11
"""A tag of reasoning."""
SHAPE = 1 << 12
"""An answer that repeats its prompt or itself, or stops inside a sentence."""
EMPTY = 1 << 13
"""A side of the dialogue that says nothing, or a first text that does."""

EVERY = (1 << 14) - 1
"""Nothing is known of the record: all checks are made."""
OF_ANSWERS = ANOTHER | IDENTITY | TAGS | SHAPE
