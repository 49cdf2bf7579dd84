"""Personal data: what is valid is found, what only looks alike is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from stdnum import luhn

from didact.curate.clean import clean_text
from didact.curate.pii import find
from didact.recipe.cleaning import CleanSettings, PiiAction, PiiSettings

FOUND = [
    ("email", "Write to Ann.Lee+x@mail-1.co.uk, please", ["Ann.Lee+x@mail-1.co.uk"]),
    ("email", "邮箱ann@mail.org。", ["ann@mail.org"]),
    ("email", "ann@example.com or ann@host.test or a@b or @name", []),
    ("phone", "Call +44 20 7946 0958 or (212) 736-5000.", ["+44 20 7946 0958", "(212) 736-5000"]),
    ("phone", "2128675309 or 2020-10-12 or 3.14159265358 or 123-456-7890", []),
    ("ip", "from 8.8.8.8 and 2001:4860:4860::8888.", ["8.8.8.8", "2001:4860:4860::8888"]),
    ("ip", "192.168.1.1, 127.0.0.1, 1.2.3.4.5, 999.1.1.1, 12:30:45, std::vector, 2001:db8::1", []),
    ("card", "4111 1111 1111 1111 and 5500-0000-0000-0004", ["4111 1111 1111 1111", "5500-0000-0000-0004"]),
    ("card", "4111 1111 1111 1112 and 0000000000000000", []),
    (
        "iban",
        "Pay GB82 WEST 1234 5698 7654 32 NOW or DE89370400440532013000.",
        ["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000"],
    ),
    ("iban", "GB83 WEST 1234 5698 7654 32", []),
    ("zh_id", "身份证11010519491231002X，", ["11010519491231002X"]),
    ("zh_id", "110105194912310021", []),
    ("zh_mobile", "电话13812345678或+86 139-1234-5678", ["13812345678", "+86 139-1234-5678"]),
    ("zh_mobile", "12812345678 138123456789 0.13812345678", []),
    ("key", "sk-" + "a1" * 16 + " and AKIAIOSFODNN7EXAMPLE", ["sk-" + "a1" * 16, "AKIAIOSFODNN7EXAMPLE"]),
    (
        "key",
        "-----BEGIN RSA PRIVATE KEY-----\n" + "Ab+/" * 8 + "\n-----END RSA PRIVATE KEY-----",
        ["-----BEGIN RSA PRIVATE KEY-----\n" + "Ab+/" * 8 + "\n-----END RSA PRIVATE KEY-----"],
    ),
    ("key", "sk-learn and task-force-of-the-united-nations", []),
]


@pytest.mark.parametrize(("kind", "text", "values"), FOUND)
def test_what_is_found(kind: str, text: str, values: list[str]) -> None:
    """Values with a valid check sum, plan or domain are found; reserved, private and invalid ones are not."""
    assert [text[start:end] for start, end in find(text, kind)] == values


@given(st.integers(10**15 * 4, 10**15 * 5 - 1))
def test_cards_are_exactly_what_luhn_accepts(number: int) -> None:
    """A 16-digit number is a card when its check digit is right."""
    assert bool(find(f"no {number}.", "card")) == luhn.is_valid(str(number))


def cleaned(text: str, action: PiiAction, salt: str = "s") -> str:
    """A text with its e-mail addresses treated so."""
    return clean_text(text, CleanSettings(pii=PiiSettings(email=action), pii_salt=salt))


def test_actions() -> None:
    """Kept, masked, or removed, as the settings say."""
    text = "To ann@mail.org now"
    assert cleaned(text, "keep") == text
    assert cleaned(text, "mask") == "To [EMAIL] now"
    assert cleaned(text, "drop") == "To  now"


def test_hashes_join_equal_values_and_depend_on_the_salt() -> None:
    """Equal values have equal pseudonyms, in any case; others, and other salts, have others; no digit appears."""
    first, same, other = cleaned("ann@mail.org Ann@Mail.org bob@mail.org", "hash").split()
    assert first == same != other
    assert first.startswith("[EMAIL:")
    assert not any(c.isdigit() for c in first)
    assert cleaned("ann@mail.org", "hash", "t") != first


def test_a_hash_without_a_salt_is_refused() -> None:
    """A pseudonym that anyone can compute is no pseudonym."""
    with pytest.raises(ValidationError, match="pii_salt"):
        CleanSettings(pii=PiiSettings(phone="hash"))


def test_personal_data_is_kept_unless_asked() -> None:
    """The default changes no value."""
    text = "ann@mail.org, 4111 1111 1111 1111, +44 20 7946 0958"
    assert clean_text(text, CleanSettings()) == text
