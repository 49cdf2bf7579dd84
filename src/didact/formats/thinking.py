"""Thinking that stands inside a message's text, in every spelling in use, told apart from the answer behind it.

Only thinking that opens the text and is closed before an answer counts. What is unclosed, nested, or leaks behind the
answer stays text as it was written, where the checks find it.
"""

from __future__ import annotations

from typing import NamedTuple


class Cut(NamedTuple):
    """A text in five pieces that make it up again; only thinking and words mean something."""

    opening: str
    thinking: str
    between: str
    words: str
    closing: str

    @property
    def spelling(self) -> list[str]:
        """How the thinking is set off, as an origin remembers it."""
        return [self.opening, self.between, self.closing]


class _Style(NamedTuple):
    opening: str
    closing: str
    answers: tuple[str, ...] = ()
    """What may open the answer."""
    ends: tuple[str, ...] = ()
    """What may close an answer that was opened."""
    answer_is_marked: bool = False
    """Whether there is no answer without one of `answers` before it."""
    answer_is_closed: bool = False
    """Whether an answer that was opened must be closed."""


_CHANNELS = ("<|start|>assistant<|channel|>final<|message|>", "<|channel|>final<|message|>")
_STYLES = (
    *(_Style(f"<{name}>", f"</{name}>") for name in ("think", "thinking", "thought", "reasoning")),
    _Style(
        "<|begin_of_thought|>", "<|end_of_thought|>", ("<|begin_of_solution|>",), ("<|end_of_solution|>",),
        answer_is_closed=True,
    ),
    *(
        _Style(f"{start}<|channel|>analysis<|message|>", "<|end|>", _CHANNELS, ("<|return|>", "<|end|>"), True)
        for start in ("<|start|>assistant", "")
    ),
)  # fmt: skip
STANDARD = ("<think>\n", "\n</think>\n\n", "")
"""How thinking is set off where a format has no place of its own for it, and in what is rendered."""


def cut(text: str) -> Cut | None:
    """The text's thinking and answer; None when it does not open with thinking that ends.

    >>> cut("<think>6 * 7</think>42")
    Cut(opening='<think>', thinking='6 * 7', between='</think>', words='42', closing='')
    """
    start = len(text) - len(text.lstrip())
    if not text.startswith("<", start):
        return None
    style = next((style for style in _STYLES if text.startswith(style.opening, start)), None)
    return None if style is None else _in_style(text, start + len(style.opening), style)


def _in_style(text: str, begins: int, style: _Style) -> Cut | None:
    ends = text.find(style.closing, begins)
    if ends < 0 or text.find(style.opening, begins, ends) >= 0:
        return None
    answer = _answer(text, ends + len(style.closing), style)
    if answer is None:
        return None
    first, last = _within(text, begins, ends)
    return Cut(text[:first], text[first:last], text[last : answer[0]], text[slice(*answer)], text[answer[1] :])


def _answer(text: str, after: int, style: _Style) -> tuple[int, int] | None:
    """Where the words of the answer begin and end."""
    place = len(text) - len(text[after:].lstrip())
    opening = next((answer for answer in style.answers if text.startswith(answer, place)), None)
    if opening is None:
        return None if style.answer_is_marked else (_within(text, after, len(text))[0], len(text))
    begins, ends = place + len(opening), len(text.rstrip())
    closing = next((end for end in style.ends if text.endswith(end, begins, ends)), None)
    if closing is None:
        return None if style.answer_is_closed else (begins, len(text))
    return _within(text, begins, ends - len(closing))


def _within(text: str, begins: int, ends: int) -> tuple[int, int]:
    """A stretch without the line ends at its borders."""
    inner = text[begins:ends]
    first = begins + len(inner) - len(inner.lstrip("\n"))
    return first, max(first, begins + len(inner.rstrip("\n")))
