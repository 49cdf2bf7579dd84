"""Pictures, sounds and files inside messages: typed parts as third parties write them, and the one form we write."""

from __future__ import annotations

from typing import Any

from didact.formats.fields import Fields, pointer
from didact.records import MediaPart

_RANGES = {"image": "image/*", "audio": "audio/*", "video": "video/*", "file": "application/octet-stream"}
_ADDRESSES = ("url", "path", "file_data", "file_id", "uri")


MEDIA_TYPES = frozenset(
    ("image_url", "image", "input_image", "audio", "audio_url", "input_audio", "video", "video_url", "file")
)
"""Types of the parts that refer to something else than words."""


def read_medium(fields: Fields, part: dict[str, Any], where: str) -> MediaPart:
    """A picture or sound by its address; what the address does not say is kept beside the record."""
    kind = part["type"]
    inner = next((part[key] for key in (kind, "value", "url", "path") if part.get(key) is not None), "")
    medium = MediaPart(uri=_address(inner, kind), mime=_mime(_address(inner, kind), kind))
    beyond = _beyond(part, medium_part(medium))
    for place, value in [("", part)] if beyond is None else beyond:
        fields.keep(f"{where}{place}"[1:], value)
    return medium


def _address(inner: Any, kind: str) -> str:
    if not isinstance(inner, dict):
        return inner if isinstance(inner, str) else ""
    if kind == "input_audio" and isinstance(inner.get("data"), str) and isinstance(inner.get("format"), str):
        return f"data:audio/{inner['format']};base64,{inner['data']}"
    return next((inner[key] for key in _ADDRESSES if isinstance(inner.get(key), str)), "")


def _mime(address: str, kind: str) -> str:
    """The media type that an address carries, or the range that the part's type tells."""
    if address.startswith("data:"):
        told = address[5:105].partition(",")[0].partition(";")[0]
        if "/" in told:
            return told
    return _RANGES[kind.removesuffix("_url").removeprefix("input_")]


def medium_part(medium: MediaPart) -> dict[str, Any]:
    """A medium as a typed part, the type chosen by its media type."""
    mime = medium.mime or "image/*"
    embedded = f"data:{mime};base64,"
    if mime.startswith("audio/") and medium.uri.startswith(embedded):
        sound = {"data": medium.uri[len(embedded) :], "format": mime.removeprefix("audio/")}
        return {"type": "input_audio", "input_audio": sound}
    for kind in ("image", "audio", "video"):
        if mime.startswith(f"{kind}/"):
            return {"type": f"{kind}_url", f"{kind}_url": {"url": medium.uri}}
    return {"type": "file", "file": {"file_data" if medium.uri.startswith("data:") else "file_id": medium.uri}}


def _beyond(given: dict[str, Any], made: dict[str, Any]) -> list[tuple[str, Any]] | None:
    """What one object has beyond another, by pointer; None when the other is not inside it."""
    found: list[tuple[str, Any]] = []
    for key, value in made.items():
        if isinstance(value, dict) and isinstance(given.get(key), dict):
            inner = _beyond(given[key], value)
            if inner is None:
                return None
            found += [(pointer(key) + place, kept) for place, kept in inner]
        elif given.get(key) != value:
            return None
    return found + [(pointer(key), value) for key, value in given.items() if key not in made]
