"""Settings of cleaning: which rules change texts, and what happens to personal data."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from didact.recipe.selection import Settings

PiiAction = Literal["keep", "mask", "hash", "drop"]
"""`mask` puts the kind in brackets, `hash` adds a salted digest so that equal values stay equal, `drop` removes it."""


class PiiSettings(Settings):
    """What happens to each kind of personal data. Kept unless asked: masks change what a model learns to write."""

    email: PiiAction = Field(
        "keep", description="E-mail addresses; those at the reserved example domains are nobody's.", examples=["mask"]
    )
    phone: PiiAction = Field("keep", description="Phone numbers that a numbering plan allows.", examples=["mask"])
    ip: PiiAction = Field(
        "keep",
        description="Public IPv4 and IPv6 addresses; private and documentation ranges are nobody's.",
        examples=["mask"],
    )
    card: PiiAction = Field(
        "keep",
        description="Payment card numbers of 13 to 19 digits with a valid check digit (Luhn).",
        examples=["mask"],
    )
    iban: PiiAction = Field(
        "keep", description="International bank account numbers with a valid check sum.", examples=["mask"]
    )
    zh_id: PiiAction = Field(
        "keep",
        description="Chinese resident identity numbers with valid region, date and check digit.",
        examples=["mask"],
    )
    zh_mobile: PiiAction = Field(
        "keep", description="Chinese mobile numbers: 11 digits from 13 to 19.", examples=["mask"]
    )
    key: PiiAction = Field(
        "keep", description="Access keys and private keys with a provider's known prefix.", examples=["mask"]
    )

    def active(self) -> dict[str, PiiAction]:
        """The kinds that are not kept, in the order they are looked for."""
        order = ("key", "email", "iban", "zh_id", "card", "zh_mobile", "phone", "ip")
        return {kind: getattr(self, kind) for kind in order if getattr(self, kind) != "keep"}


class CleanSettings(Settings):
    """Which rules clean texts. A rule changes a text, it never drops a record; each counts what it changed."""

    entities: bool = Field(
        True,
        description=(
            "Decode HTML entities such as `&amp;`, outside code and formulas; texts that hold HTML tags are left alone."
        ),
    )
    mojibake: bool = Field(True, description="Undo UTF-8 that was read as another encoding (`Ã©` for `é`), by ftfy.")
    unicode: bool = Field(
        True,
        description=(
            "Compose characters (NFC), so that equal texts are equal bytes. Not NFKC, which rewrites formulas and"
            " full-width text."
        ),
    )
    controls: bool = Field(
        True,
        description=(
            "Remove control, zero-width and bidirectional control characters that a script or an emoji does not need;"
            " every line end becomes a line feed."
        ),
    )
    literal_newlines: bool = Field(
        True,
        description=(
            r"Turn literal `\n` into line feeds, in texts without code that have at least two and no line feed of their"
            r" own."
        ),
    )
    template_markers: bool = Field(
        True,
        description=(
            "Remove chat-template markers that leaked into the start or end of a text, such as `<|im_end|>` or `###"
            " Response:`."
        ),
    )
    whitespace: bool = Field(
        True,
        description=(
            "Outside code: remove white space at line ends and blank lines at both ends, make three and more line feeds"
            " two. Indentation stays."
        ),
    )
    pii: PiiSettings = Field(
        default_factory=PiiSettings,
        description="What happens to personal data; all of it is kept unless asked.",
        examples=[{"email": "mask"}],
    )
    pii_salt: str = Field(
        "",
        description=(
            "Mixed into every `hash`. Whoever knows it can find a phone number again by trying all: keep it secret."
        ),
        examples=["a long secret"],
    )
    phone_region: str = Field(
        "US",
        pattern="^[A-Z]{2}$",
        description="Country whose numbering plan reads phone numbers without a country code.",
        examples=["US", "CN"],
    )

    @model_validator(mode="after")
    def _hash_needs_a_salt(self) -> Self:
        if "hash" in self.pii.active().values() and not self.pii_salt:
            raise ValueError(
                "pii: 'hash' needs 'pii_salt'; an unsalted hash of a phone number is found by trying all numbers"
            )
        return self
