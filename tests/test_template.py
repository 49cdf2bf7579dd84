"""Templates refuse marks that would let texts run together."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from didact.errors import UnknownName
from didact.render.template import TEMPLATES, Template, template

DIDACT = template("didact").model_dump()


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_template_is_data(name: str) -> None:
    """A template survives the way through JSON."""
    assert Template.model_validate_json(template(name).model_dump_json()) == template(name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pad": "<|none|>"}, "not among the reserved"),
        ({"turns": DIDACT["turns"] | {"assistant": {"prefix": "<|user|>", "suffix": "<|pad|>"}}}, "ends its turn"),
        ({"turns": DIDACT["turns"] | {"user": {"prefix": "<|user|>", "suffix": "\n<|end|>"}}}, "start with a reserved"),
        ({"turns": DIDACT["turns"] | {"user": {"prefix": "user\n", "suffix": "<|end|>"}}}, "end with a reserved"),
        ({"calls": {"prefix": "calls<|call|>", "suffix": ""}}, "start with a reserved"),
    ],
)
def test_marks_that_run_into_texts_are_refused(change: dict[str, Any], said: str) -> None:
    """A mark that could merge with the text beside it, or is not reserved, is no template."""
    with pytest.raises(ValidationError, match=said):
        Template.model_validate(DIDACT | change)


def test_pieces_of_marks() -> None:
    """Marks are cut into reserved tokens, longest first, and literal text."""
    assert template("chatml").pieces("<|im_start|>user\n") == ["<|im_start|>", "user\n"]
    assert template("chatml").pieces("") == []


def test_an_unknown_name_lists_the_nearest() -> None:
    """A misspelt template is answered with the name that was meant."""
    with pytest.raises(UnknownName, match="did you mean chatml"):
        template("chatlm")
