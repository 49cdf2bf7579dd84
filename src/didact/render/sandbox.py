"""Chat templates of others, run in Jinja's sandbox with bounds on steps, sizes and what they can call.

Steps are counted instead of seconds, and no clock is read, so a template writes the same on every machine.
"""

from __future__ import annotations

import datetime
import json
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from didact.errors import RenderError

START, END, BREAK = "\U000ffffe", "\U000fffff", "\U0010fffe"
"""Around what a template marks as generated, and inside reserved strings of texts; Unicode keeps these from text."""
DAY = datetime.date(2000, 1, 1)
"""The day templates see: what depends on it is refused."""

_LARGEST_SOURCE = 1 << 17
"""Characters of a template; those in use have a few thousand."""
_STEPS = 1 << 20
"""Rounds of loops and calls for one dialogue: about a second, and a hundred times what a long dialogue takes."""
_CHARACTERS = 1 << 25
"""Characters of any text a template makes: a row has at most 32 MiB."""
_WHOLE_NUMBER = 1 << 64
_METHODS = frozenset(
    ("strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "startswith", "endswith", "replace", "upper",
     "lower", "title", "capitalize", "find", "rfind", "index", "count", "join", "isdigit", "isspace", "isalpha",
     "isupper", "islower", "partition", "rpartition", "removeprefix", "removesuffix")
)  # fmt: skip
_FILTERS = frozenset(
    ("trim", "length", "count", "string", "list", "first", "last", "default", "d", "upper", "lower", "title",
     "capitalize", "selectattr", "rejectattr", "select", "reject", "map", "items", "dictsort", "sort", "unique", "int",
     "float", "reverse", "safe", "escape", "e", "min", "max", "abs", "round")
)  # fmt: skip
_GLOBALS = ("range", "dict", "namespace")


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}`, the tags of transformers around what a model is to write."""

    tags = {"generation"}  # noqa: RUF012 - as in Jinja

    def parse(self, parser: Parser) -> list[nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        first, last = (nodes.Output([nodes.TemplateData(mark)], lineno=line) for mark in (START, END))
        return [first, *body, last]


class _Bounds(NodeTransformer):
    """Has each round of a loop counted, and texts joined by `~` measured."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_call("__step__", [], node.lineno), lineno=node.lineno))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:
        self.generic_visit(node)
        return _call("__concat__", node.nodes, node.lineno)


def _call(name: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load", lineno=line), arguments, [], None, None, lineno=line)


class _Refused(TemplateError):
    """A template did what none may do."""


def _fits(size: int) -> None:
    if size > _CHARACTERS:
        raise _Refused(f"it makes a text of {size:,} characters")


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """The environment transformers gives chat templates, with bounds."""

    intercepted_binops = frozenset({"+", "*", "**", "%", "//", "/", "-"})

    def __init__(self, day: datetime.date = DAY) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation])
        self.left = _STEPS
        self._ready: dict[str, Any] = {}
        self.filters = {name: self.filters[name] for name in sorted(_FILTERS)}
        self.filters |= {"tojson": _to_json, "join": _join, "replace": _replace}
        self.globals = {name: self.globals[name] for name in _GLOBALS}
        self.globals |= {"__step__": lambda: None, "__concat__": _concat, "raise_exception": _raise}
        self.globals["strftime_now"] = day.strftime

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Bounds().visit(super()._parse(source, name, filename))
        tree.set_environment(self)
        return tree

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Of a text only methods whose result is bounded by their arguments."""
        if isinstance(obj, str):
            return attr in _METHODS
        return super().is_safe_attribute(obj, attr, value)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Count a call, and measure what a text's method would make."""
        __self.left -= 1
        if __self.left < 0:
            raise _Refused(f"it takes more than {_STEPS:,} steps")
        own = getattr(__obj, "__self__", None)
        if isinstance(own, str) and __obj.__name__ == "replace":
            _replace(own, *args[:2])
        if isinstance(own, str) and __obj.__name__ == "join":
            return _join(args[0], own)
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse what would make a large number or text."""
        if operator == "**" and not (_small(left) and isinstance(right, int) and 0 <= right <= 64):
            raise _Refused("it takes a large power")
        if operator == "%" and isinstance(left, str):
            raise _Refused("it formats a text by %")
        if operator == "*" and not (_small(left) and _small(right)):
            sizes = [len(side) if isinstance(side, str | list | tuple) else int(side) for side in (left, right)]
            _fits(sizes[0] * sizes[1])
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, str | list | tuple):
            _fits(len(result))
        elif isinstance(result, int) and abs(result) > _WHOLE_NUMBER:
            raise _Refused("it makes a large number")
        return result

    def written(self, source: str, given: dict[str, Any]) -> str:
        """What a template writes. Raises RenderError (RE001) when it fails or exceeds a bound."""
        self.left = _STEPS
        parts, size = [], 0
        try:
            for part in self._compiled(source).generate(**given):
                size += len(part)
                _fits(size)
                parts.append(part)
        except (
            TemplateError,
            TypeError,
            ArithmeticError,
            LookupError,
            ValueError,
            AttributeError,
            RecursionError,
        ) as e:
            raise RenderError("RE001", f"the template fails ({str(e)[:200]})") from e
        return "".join(parts)

    def _compiled(self, source: str) -> Any:
        if source not in self._ready:
            if len(source) > _LARGEST_SOURCE:
                raise _Refused(f"it has {len(source):,} characters, at most {_LARGEST_SOURCE:,} are read")
            self._ready[source] = self.from_string(source)
        return self._ready[source]


def _small(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < _WHOLE_NUMBER


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **more: Any) -> str:
    """JSON as transformers writes it into templates: neither sorted nor escaped for HTML."""
    options = {name: more[name] for name in ("separators", "sort_keys") if name in more}
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=None if indent is None else min(indent, 16), **options)


def _join(values: Any, between: str = "", attribute: str | None = None) -> str:
    parts = [str(value if attribute is None else value[attribute]) for value in values]
    _fits(sum(map(len, parts)) + len(between) * len(parts))
    return str(between).join(parts)


def _replace(text: str, old: str, new: str, count: int | None = None) -> str:
    found = str(text).count(old)
    _fits(len(text) + found * max(0, len(new) - len(old)))
    return str(text).replace(old, new, -1 if count is None else count)


def _concat(*parts: Any) -> str:
    texts = [str(part) for part in parts]
    _fits(sum(map(len, texts)))
    return "".join(texts)


def _raise(message: str) -> None:
    raise _Refused(message)
