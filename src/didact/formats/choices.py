"""Options of multiple-choice questions in the shapes that are in use, and the key that names the right one.

Shapes: a list of texts; a list of `{label, text}`; a pair of lists `{text: [...], label: [...]}`; columns A, B, C, ...
The key: a label, a label in brackets, an index counted from 0, or the text of the option.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from didact.errors import RowError
from didact.formats.fields import Fields, kind_of
from didact.records import Choice

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def lettered_columns(row: dict[str, Any]) -> list[str]:
    """Columns A, B, C, ... of a row, when there are at least two and none is left out."""
    columns = [letter for letter in LETTERS if letter in row]
    return columns if len(columns) > 1 and columns == list(LETTERS[: len(columns)]) else []


def default_label(place: int) -> str:
    """The label of an option that has none of its own."""
    return LETTERS[place] if place < len(LETTERS) else str(place + 1)


def listed_choices(fields: Fields, value: Any, where: str) -> list[Choice]:
    """Options given as a list or a pair of lists. Raises RowError SC002."""
    if value is None:
        return []
    if _is_pair(value):
        return [
            Choice(
                label=fields.spelt(label, f"{where}/label/{i}"),
                text=fields.spelt(text, f"{where}/text/{i}"),
            )
            for i, (text, label) in enumerate(zip(value["text"], value["label"], strict=True))
        ]
    if not isinstance(value, list):
        raise RowError("SC002", f"{kind_of(value)} where a list of choices belongs", where)
    return [_choice(fields, item, i, f"{where}/{i}") for i, item in enumerate(value)]


def _is_pair(value: Any) -> bool:
    """ARC's shape. The lists must be of one length, or choices would be lost unseen."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("text"), list)
        and isinstance(value.get("label"), list)
        and len(value["text"]) == len(value["label"])
    )


def _choice(fields: Fields, item: Any, place: int, where: str) -> Choice:
    if not isinstance(item, dict):
        return Choice(label=default_label(place), text=fields.spelt(item, where))
    for key in item.keys() - {"label", "text"}:
        fields.keep(f"{where}/{key}".removeprefix("/"), item[key])
    return Choice(
        label=fields.spelt(item["label"], f"{where}/label") if "label" in item else default_label(place),
        text=fields.spelt(item.get("text"), f"{where}/text"),
    )


def written_choices(given: Any, new: Sequence[Choice], was: Sequence[Choice]) -> Any:
    """Options in the shape of those given, changed where they differ from what was read; new ones as a list of texts,
    with labels where these are not just letters in order.
    """
    if _is_pair(given) and len(given["text"]) == len(new) == len(was):
        return given | {
            "text": _merged(given["text"], [choice.text for choice in new], [choice.text for choice in was]),
            "label": _merged(given["label"], [choice.label for choice in new], [choice.label for choice in was]),
        }
    if isinstance(given, list) and len(given) == len(new) == len(was):
        return [_merged_choice(item, one, before) for item, one, before in zip(given, new, was, strict=True)]
    if _is_lettered([choice.label for choice in new]):
        return [choice.text for choice in new]
    return {"text": [choice.text for choice in new], "label": [choice.label for choice in new]}


def _merged(given: list[Any], new: list[str], was: list[str]) -> list[Any]:
    return [item if one == before else one for item, one, before in zip(given, new, was, strict=True)]


def _merged_choice(item: Any, new: Choice, was: Choice) -> Any:
    if not isinstance(item, dict):
        return item if new.text == was.text else new.text
    changed = {"text": new.text} if new.text != was.text else {}
    return item | changed | ({"label": new.label} if new.label != was.label else {})


def label_of(fields: Fields, value: Any, choices: Sequence[Choice], where: str) -> str:
    """The label of the right option, whichever way the key names it; a key that names none as it is spelt.

    Raises RowError QA001 for the keys that stand for a withheld answer: null, an empty text, -1.
    """
    labels = [choice.label for choice in choices]
    if value is None or value == "" or value in (-1, "-1"):
        raise RowError("QA001", f"the key {value!r} names no choice; the answer is withheld", where)
    place = _place_of(value, choices, labels)
    if place is None:
        return fields.spelt(value, where)
    if value != labels[place]:
        fields.held_as(where.removeprefix("/"), value)
    return labels[place]


def _place_of(value: Any, choices: Sequence[Choice], labels: list[str]) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        spelt = str(value)
        return labels.index(spelt) if spelt in labels else value if 0 <= value < len(choices) else None
    if not isinstance(value, str):
        return None
    bare = value.strip().rstrip(".)").lstrip("(")
    for name in (value, bare):
        if name in labels:
            return labels.index(name)
    same = [place for place, choice in enumerate(choices) if choice.text == value]
    if len(same) == 1:
        return same[0]
    return int(bare) if bare.isdecimal() and bare.isascii() and int(bare) < len(choices) else None


def new_key(label: str, choices: Sequence[Choice]) -> int | str:
    """The key to an option of a new row: its index where labels are letters in order, else its label, since an index
    could be taken for a label that is a number.
    """
    labels = [choice.label for choice in choices]
    return labels.index(label) if label in labels and _is_lettered(labels) else label


def _is_lettered(labels: list[str]) -> bool:
    return labels == [default_label(i) for i in range(len(labels))]


def written_key(given: Any, label: str, new: Sequence[Choice], was: Sequence[Choice]) -> Any:
    """The key to an option, named as the given key names its own: by index, by text, or by label."""
    place = next((i for i, choice in enumerate(new) if choice.label == label), None)
    if place is None:
        return label
    if isinstance(given, int) and not isinstance(given, bool):
        return int(label) if str(given) in [choice.label for choice in was] and label.isdecimal() else place
    if not isinstance(given, str) or given in [choice.label for choice in was]:
        return label
    if any(choice.text == given for choice in was):
        return new[place].text
    bare = given.strip().rstrip(".)").lstrip("(")
    if bare in [choice.label for choice in was]:
        return given.replace(bare, label, 1)
    return str(place) if bare.isdecimal() else label
