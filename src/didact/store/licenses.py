"""Licences of sources, ordered by how much they restrict. A help for reading them, no legal advice."""

from __future__ import annotations

import re
from typing import NamedTuple

UNKNOWN = "unknown"
"""What the manifest calls a licence that nobody stated."""

TERMS = (
    "not stated: ask the author before you use or publish it",
    "terms that Didact does not know: read them",
    "no commercial use, no derivatives",
    "no derivatives",
    "no commercial use, share alike",
    "no commercial use",
    "share alike",
    "attribution",
    "no conditions",
)
"""What licences ask, the most restrictive first."""

_PATTERNS = (
    (r"CC-BY-NC-ND-\d\.\d", 2),
    (r"CC-BY-ND-\d\.\d", 3),
    (r"CC-BY-NC-SA-\d\.\d", 4),
    (r"CC-BY-NC-\d\.\d", 5),
    (r"CC-BY-SA-\d\.\d|(A|L)?GPL-\d\.\d(-only|-or-later|\+)?|GFDL-\d\.\d(-only|-or-later)?", 6),
    (r"MPL-2\.0|ODbL-1\.0|EUPL-1\.[12]|EPL-[12]\.0|CDLA-Sharing-1\.0|OSL-3\.0", 6),
    (r"CC-BY-\d\.\d|Apache-2\.0|MIT|ISC|BSD-[23]-Clause|ODC-By-1\.0|CDLA-Permissive-[12]\.0|ECL-2\.0", 7),
    (r"PostgreSQL|Zlib|NCSA|Artistic-2\.0|BSL-1\.0|OFL-1\.1|MS-PL|etalab-2\.0", 7),
    (r"CC0-1\.0|PDDL-1\.0|Unlicense|WTFPL|0BSD|MIT-0", 8),
)
"""SPDX identifiers (spdx.org/licenses) by the place of their terms in TERMS."""

_HUB = re.compile(
    r"cc0-1\.0|cc-by(-nc)?(-sa)?-[234]\.\d|cc-by(-nc)?-nd-[34]\.0|apache-2\.0|mit|isc|bsd-[23]-clause|cdla-(sharing-1|"
    r"permissive-[12])\.0|ecl-2\.0|epl-[12]\.0|etalab-2\.0|eupl-1\.[12]|mpl-2\.0|ms-pl|osl-3\.0|postgresql|zlib|ncsa|"
    r"artistic-2\.0|bsl-1\.0|ofl-1\.1|unlicense|wtfpl|(a|l)?gpl-3\.0|gpl-2\.0|lgpl-2\.1"
)
_HUB_SPELLINGS = {"odbl-1.0": "odbl", "odc-by-1.0": "odc-by", "pddl-1.0": "pddl", UNKNOWN: UNKNOWN}
"""Where the hub writes an identifier otherwise than SPDX."""


class Rolled(NamedTuple):
    """A licence, what it asks, and the sources under it."""

    license: str
    terms: str
    sources: list[str]


def roll_up(licenses: dict[str, list[str]]) -> list[Rolled]:
    """The licences of a version, the most restrictive first, each with its sources.

    >>> [one.license for one in roll_up({"MIT": ["a"], "unknown": ["b"], "CC-BY-NC-4.0": ["c"]})]
    ['unknown', 'CC-BY-NC-4.0', 'MIT']
    """
    ordered = sorted(licenses, key=lambda license: (restriction(license), license))
    return [Rolled(one, TERMS[restriction(one)], sorted(licenses[one])) for one in ordered]


def restriction(license: str) -> int:
    """Place of a licence's terms in TERMS: of an SPDX expression, AND asks for the stricter side, OR leaves the choice.

    >>> TERMS[restriction("MIT AND (CC-BY-NC-4.0 OR CC0-1.0)")]
    'attribution'
    """
    tokens = re.findall(r"[()]|[^\s()]+", license)
    place, rest = _either(tokens)
    return place if not rest else 1


def _either(tokens: list[str]) -> tuple[int, list[str]]:
    """Place of an expression's terms and what follows it; OR binds less than AND."""
    place, rest = _both(tokens)
    while rest and rest[0].upper() == "OR":
        other, rest = _both(rest[1:])
        place = max(place, other)
    return place, rest


def _both(tokens: list[str]) -> tuple[int, list[str]]:
    place, rest = _single(tokens)
    while rest and rest[0].upper() == "AND":
        other, rest = _single(rest[1:])
        place = min(place, other)
    return place, rest


def _single(tokens: list[str]) -> tuple[int, list[str]]:
    if tokens[:1] == ["("]:
        place, rest = _either(tokens[1:])
        return (place, rest[1:]) if rest[:1] == [")"] else (1, rest)
    if not tokens:
        return 1, []
    named, rest = tokens[0], tokens[1:]
    if rest and rest[0].upper() == "WITH":
        rest = rest[2:]
    return _place(named), rest


def _place(identifier: str) -> int:
    if identifier == UNKNOWN:
        return 0
    return next((place for pattern, place in _PATTERNS if re.fullmatch(pattern, identifier, re.IGNORECASE)), 1)


def hub_name(license: str) -> str:
    """How the Hugging Face hub writes a licence in a card; `other` for those it has no name for."""
    plain = re.sub(r"-only$", "", license.lower())
    return plain if _HUB.fullmatch(plain) else _HUB_SPELLINGS.get(plain, "other")
