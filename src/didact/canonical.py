"""One spelling for one value: canonical JSON and the hashes taken over it."""

from __future__ import annotations

from typing import Any

import orjson
import xxhash


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no white space, so that equal values have equal bytes.

    >>> canonical_json({"b": 1, "a": "é"}).decode()
    '{"a":"é","b":1}'
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def content_hash(value: Any) -> str:
    """128-bit xxh3 of the canonical JSON, as 32 hex digits.

    Not cryptographic: it tells contents apart, it does not defend against someone who builds collisions.
    At 10^8 contents the chance of any accidental collision is below 10^-22.
    """
    return xxhash.xxh3_128_hexdigest(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def keyed_hash(key: str, *parts: str | bytes) -> int:
    """64-bit hash of byte strings under a key; the source of every reproducible random choice on records."""
    state = xxhash.xxh3_64(key.encode())
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        state.update(len(content).to_bytes(8, "little"))
        state.update(content)
    return state.intdigest()
