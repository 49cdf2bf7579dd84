"""Personal data in texts: found by pattern, confirmed by check digit or numbering plan, masked, hashed or removed."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Iterator
from typing import Any

import re2

from didact.recipe.cleaning import CleanSettings

Span = tuple[int, int]

_EMAIL = re2.compile(
    r"[A-Za-z0-9_%+\-](?:[A-Za-z0-9._%+\-]{0,62}[A-Za-z0-9_%+\-])?@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}\b"
)
_RESERVED = re2.compile(
    r"(?i)@(?:[a-z0-9\-]+\.)*(?:example\.(?:com|org|net)|[a-z0-9\-]+\.(?:example|test|invalid|localhost))$"
)
"""Domains that RFC 2606 sets aside for documentation."""
_CARD = re2.compile(r"\b[3-6](?:[ \-]?\d){12,18}\b")
_IBAN = re2.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}(?: ?[A-Z0-9]{1,2})?\b")
_ZH_ID = re2.compile(r"\b\d{17}[0-9Xx]\b")
_ZH_MOBILE = re2.compile(r"(?:\+86[ \-]?|\b86[ \-]|\b)1[3-9]\d[ \-]?\d{4}[ \-]?\d{4}\b")
_PHONE = re2.compile(r"(?:\+\d|\(\d|\b\d)[\d ().\-/]{5,22}\d\b")
_IPV4 = re2.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
_IPV6 = re2.compile(r"[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]{2,38}")
_KEY = re2.compile(
    r"\b(?:sk-(?:[a-z]{2,8}-)?[A-Za-z0-9_\-]{20,200}|(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}"
    r"|xox[abprs]-[A-Za-z0-9\-]{10,250}|AIza[0-9A-Za-z_\-]{35}|hf_[A-Za-z0-9]{30,60}|glpat-[A-Za-z0-9_\-]{20,60})"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----\s+[A-Za-z0-9+/=]{16,1000}[^\-]*-----END [A-Z ]{0,20}PRIVATE KEY-----"
)
_PHONE_DIGITS = range(7, 16)
"""How many digits a phone number has (ITU-T E.164 allows 15)."""

_MANY_DIGITS = re2.compile(r"\d(?:[ ().\-/]{0,4}\d){6}")
_NUMERIC = frozenset({"zh_id", "card", "zh_mobile", "phone"})
"""Kinds that hold seven digits with little between them."""
_SIGNS = {
    "key": ("sk-", "AKIA", "ASIA", "gh", "xox", "AIza", "hf_", "glpat-", "-----BEGIN"),
    "email": ("@",),
    "iban": tuple("0123456789"),
    "ip": (".", ":"),
}
"""What a text needs before a pattern is tried on it."""


def _matches(pattern: Any, text: str) -> Iterator[Span]:
    return (match.span() for match in pattern.finditer(text))


def _emails(text: str, region: str) -> Iterator[Span]:
    del region
    return ((a, b) for a, b in _matches(_EMAIL, text) if not _RESERVED.search(text[a:b]))


def _cards(text: str, region: str) -> Iterator[Span]:
    from stdnum import luhn

    del region
    for start, end in _matches(_CARD, text):
        digits = _digits(text[start:end])
        if 13 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn.is_valid(digits):
            yield start, end


def _ibans(text: str, region: str) -> Iterator[Span]:
    from stdnum import iban

    del region
    for start, end in _matches(_IBAN, text):
        # Groups of capitals after the number match as well; they are given back until the check sum holds.
        while end - start >= 15 and not iban.is_valid(text[start:end]):
            end = text.rfind(" ", start, end)
        if end - start >= 15:
            yield start, end


def _zh_ids(text: str, region: str) -> Iterator[Span]:
    from stdnum.cn import ric

    del region
    return ((a, b) for a, b in _matches(_ZH_ID, text) if ric.is_valid(text[a:b].upper()))


def _zh_mobiles(text: str, region: str) -> Iterator[Span]:
    del region
    return (span for span in _matches(_ZH_MOBILE, text) if not _in_number(text, span))


def _phones(text: str, region: str) -> Iterator[Span]:
    import phonenumbers

    for start, end in _matches(_PHONE, text):
        written = text[start:end]
        # Ten bare digits are an order number or a time stamp more often than a phone number.
        if len(_digits(written)) not in _PHONE_DIGITS or written.isdigit() or _in_number(text, (start, end)):
            continue
        try:
            number = phonenumbers.parse(written, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            yield start, end


def _addresses(text: str, region: str) -> Iterator[Span]:
    del region
    for pattern in (_IPV4, _IPV6):
        for start, end in _matches(pattern, text):
            end = start + len(text[start:end].rstrip(":"))
            around = text[max(start - 1, 0) : start] + text[end : end + 1]
            spelled = text[start:end].replace("::", ":").count(":") in (0, *range(3, 8))
            if (
                spelled
                and not any(c.isalnum() or c == ":" for c in around)
                and not _in_number(text, (start, end))
                and _is_public(text[start:end])
            ):
                yield start, end


def _keys(text: str, region: str) -> Iterator[Span]:
    del region
    return _matches(_KEY, text)


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _in_number(text: str, span: Span) -> bool:
    """Whether a span is a part of a longer number or version, joined to it by a dot."""
    before, after = text[max(span[0] - 2, 0) : span[0]], text[span[1] : span[1] + 2]
    return (before[-1:] == "." and before[:1].isdigit()) or (after[:1] == "." and after[1:].isdigit())


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


_FINDERS: dict[str, Callable[[str, str], Iterator[Span]]] = {
    "key": _keys,
    "email": _emails,
    "iban": _ibans,
    "zh_id": _zh_ids,
    "card": _cards,
    "zh_mobile": _zh_mobiles,
    "phone": _phones,
    "ip": _addresses,
}


def find(text: str, kind: str, region: str = "US") -> list[Span]:
    """Where personal data of one kind stands in a text, in order.

    >>> find("Write to ann@mail.org.", "email")
    [(9, 21)]
    """
    return sorted(_FINDERS[kind](text, region))


class PersonalData:
    """The kinds of personal data that settings do not keep, and what becomes of them."""

    def __init__(self, settings: CleanSettings) -> None:
        self._actions = settings.pii.active()
        self._region = settings.phone_region
        self._salt = settings.pii_salt

    def replace(self, text: str, counts: dict[str, int]) -> str:
        """The text with personal data replaced; adds the number of values to `counts` under `pii.KIND`."""
        if not self._actions:
            return text
        numeric = _MANY_DIGITS.search(text) is not None
        for kind, action in self._actions.items():
            if not (numeric if kind in _NUMERIC else any(sign in text for sign in _SIGNS[kind])):
                continue
            spans = find(text, kind, self._region)
            for start, end in reversed(spans):
                text = text[:start] + _replacement(kind, action, text[start:end], self._salt) + text[end:]
            if spans:
                counts[f"pii.{kind}"] = counts.get(f"pii.{kind}", 0) + len(spans)
        return text


def _replacement(kind: str, action: str, value: str, salt: str) -> str:
    if action == "drop":
        return ""
    name = kind.upper()
    return f"[{name}:{_pseudonym(kind, value, salt)}]" if action == "hash" else f"[{name}]"


def _pseudonym(kind: str, value: str, salt: str) -> str:
    """Ten letters a to p: a keyed hash in which no digit can be taken for personal data again."""
    same = value.lower() if kind in ("email", "ip", "key") else "".join(c for c in value.lower() if c.isalnum())
    key = hashlib.blake2b(salt.encode(), digest_size=32).digest()
    digest = hashlib.blake2b(same.encode(), key=key, digest_size=5).hexdigest()
    return "".join(chr(ord("a") + int(nibble, 16)) for nibble in digest)
