"""Tokens as people can read them: what each id stands for, with white space and broken characters made visible."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from didact.render.pretokens import byte_alphabet
from didact.render.tokenizer import Tokenizer
from didact.text.shown import visible

_SIGNS = {" ": "·", "\n": "↵", "\t": "⇥"}


class Speller:
    """Spells the ids of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._decode = tokenizer.decode
        self._spellings = {place: token for token, place in tokenizer.description["model"]["vocab"].items()}
        self._added = {token["id"]: token["content"] for token in tokenizer.description["added_tokens"]}
        self.marks = frozenset(token["id"] for token in tokenizer.description["added_tokens"] if token["special"])
        """Ids of reserved tokens, unused ones included."""
        decoder = str(tokenizer.description.get("decoder"))
        self._bytes = {sign: byte for byte, sign in enumerate(byte_alphabet())} if "ByteLevel" in decoder else None

    def bytes_of(self, token_id: int) -> bytes:
        """The UTF-8 bytes an id stands for, perhaps only a part of a character's."""
        if token_id in self._added or self._bytes is None:
            return (self._added.get(token_id) or self._decode([token_id], reserved=True)).encode()
        return bytes(self._bytes[sign] for sign in self._spellings.get(token_id, ""))

    def spell(self, ids: Sequence[int]) -> list[str]:
        """What each id adds to the text, on one line.

        A character made of several tokens stands at the last of them; the others show their bytes, as in ‹e4›.
        """
        reading = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        shown = []
        for token_id in ids:
            data = self.bytes_of(token_id)
            if token_id in self._added:
                reading.reset()
            text = reading.decode(data)
            shown.append(signed(text) if text else f"‹{data.hex(' ')}›")
        return shown


def signed(text: str) -> str:
    r"""A text on one line: signs for white space, escapes for all else that shows nothing.

    >>> signed("a b\n\x00")
    'a·b↵\\x00'
    """
    return "".join(_SIGNS.get(character) or visible(character) for character in text)
