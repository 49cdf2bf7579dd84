"""ShareGPT: conversations of `from` and `value`, or of pairs, with an optional system prompt and tools beside them."""

from __future__ import annotations

from typing import Any

from didact.formats.conversation import Layout, is_pairs
from didact.formats.messages import is_judged, speaks
from didact.formats.registry import Adapter

_LAYOUT = Layout("sharegpt", ("conversations", "conversation", "messages"), dialect="from", system_apart=True)


def _fits(row: Any) -> float:
    if not isinstance(row, dict) or "chosen" in row or "rejected" in row or is_judged(row):
        return 0.0
    key = next((key for key in _LAYOUT.keys if key in row), "")
    turns = row.get(key)
    if key == "messages":
        return speaks(turns, "from")
    if isinstance(turns, str):
        return 0.8 if turns.lstrip().startswith("[") else 0.0
    return 1.0 if is_pairs(turns) else max(speaks(turns, "from"), 0.8 * speaks(turns, "role"))


_VARIANTS: dict[str, dict[str, Any]] = {
    "tools": {
        "system": "Help.",
        "tools": '[{"name": "get"}]',
        "conversations": [
            {"from": "human", "value": "Weather?"},
            {"from": "function_call", "value": '{"name": "get", "arguments": {}}'},
            {"from": "observation", "value": "3"},
            {"from": "gpt", "value": "Cold."},
        ],
    },
    "roles": {"conversations": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]},
    "messages of from and value": {
        "messages": [{"from": "user", "value": "Hi"}, {"from": "assistant", "value": "Hello.", "loss": True}]
    },
    "pairs": {"system": "Be brief.", "conversation": [{"human": "Hi", "assistant": "Hello."}]},
}


ADAPTERS = (
    Adapter(
        name="sharegpt",
        description="conversations of {from: human|gpt|system|tool|..., value}; optional system and tools",
        example='{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]}',
        fits=_fits,
        read=_LAYOUT.read,
        variants=_VARIANTS,
        write=_LAYOUT.write,
        kinds=("chat",),
        columns={"messages": "conversations", "system": "system"},
    ),
)
