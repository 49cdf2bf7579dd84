"""The safe fixes of a text, by the names that the catalogue gives them; each finding of such a code is a text that its
fix changes, and a fixed text has that finding no more.
"""

from __future__ import annotations

from collections.abc import Callable

from didact.text.clean_rules import (
    control_characters,
    entities,
    escaped_line_ends,
    invisible_characters,
    mojibake,
    unicode_form,
)

TEXT_FIXES: dict[str, Callable[[str], str]] = {
    "entities": entities,
    "mojibake": mojibake,
    "control_characters": control_characters,
    "invisible_characters": invisible_characters,
    "compose": unicode_form,
    "line_ends": escaped_line_ends,
}
"""Fixes from text to text in the order in which they are applied: mojibake before the control characters that it is
often made of, composition after the invisible characters that keep marks from their letters.
"""
