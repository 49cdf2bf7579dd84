"""The rooms of the package: each imports only rooms before it, and heavy libraries stay where they belong."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import didact

PACKAGE = Path(didact.__file__).parent
ORDER = tuple(
    line.split()
    for line in """errors
    canonical
    intervals
    durable
    interrupts
    remote
    plugins
    recipe
    text
    records
    formats
    sources
    curate
    render
    engine
    store
    report
    build validate repair convert
    model
    evaluate serve
    run
    cli
    __main__
    didact""".splitlines()
)
"""Rooms in the order in which they may build on each other; rooms side by side do not know each other."""
PLACE = {room: place for place, rooms in enumerate(ORDER) for room in rooms}
TORCH_ROOMS = {"model", "evaluate", "serve", "run"}


def room_of(path: Path) -> str:
    """The room a module stands in: the folder or module right under the package."""
    first = path.relative_to(PACKAGE).parts[0]
    return "didact" if first == "__init__.py" else first.removesuffix(".py")


def is_type_checking(node: ast.AST) -> bool:
    """Whether a statement is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(node: ast.AST, lazy: bool = True) -> Iterator[str]:
    """Dotted names that code imports, at the top and, when `lazy`, inside functions; not those for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield child.module or ""
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif is_type_checking(child) or (isinstance(child, ast.FunctionDef) and not lazy):
            continue
        else:
            yield from imports(child, lazy)


def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def rooms_imported(tree: ast.AST) -> set[str]:
    """Rooms of the package that a module imports."""
    names = (name.split(".") for name in imports(tree))
    return {parts[1] for parts in names if parts[0] == "didact" and len(parts) > 1 and parts[1] in PLACE}


def modules() -> list[Path]:
    """All modules of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def test_every_module_stands_in_a_known_room() -> None:
    """No room exists that the order does not name."""
    assert {room_of(path) for path in modules()} <= PLACE.keys()


def test_rooms_import_only_rooms_before_them() -> None:
    """A module imports its own room and rooms that come before it, lazily or not."""
    for path in modules():
        own = room_of(path)
        wrong = {room for room in rooms_imported(parsed(path)) if room != own and PLACE[room] >= PLACE[own]}
        assert not wrong, f"{path} must not import {sorted(wrong)}"


def test_torch_is_imported_by_model_rooms_only() -> None:
    """No other module names torch in an import, not even lazily."""
    for path in modules():
        named = {name.split(".")[0] for name in imports(parsed(path))}
        assert room_of(path) in TORCH_ROOMS or not named & {"torch", "safetensors"}, path


def test_commands_import_nothing_heavy_at_the_top() -> None:
    """Modules of the command line import, when they are imported, only click, errors and each other."""
    for path in (PACKAGE / "cli").glob("*.py"):
        names = set(imports(parsed(path), lazy=False))
        ours = {".".join(name.split(".")[:2]) for name in names if name.startswith("didact.")}
        theirs = {name.split(".")[0] for name in names} - {"didact"}
        assert ours <= {"didact.cli", "didact.errors"}, path.name
        assert theirs <= {
            "__future__",
            "atexit",
            "builtins",
            "click",
            "collections",
            "functools",
            "gc",
            "importlib",
            "os",
            "pathlib",
            "select",
            "signal",
            "sys",
            "textwrap",
            "threading",
            "types",
            "typing",
        }, path.name


def test_the_walk_sees_a_wrong_import() -> None:
    """Imports of every spelling are found, and those under TYPE_CHECKING are not."""
    lazy = "def f():\n    from didact import build\n    from didact.store.layout import Store"
    code = f"import didact.cli\nif TYPE_CHECKING:\n    import didact.run\n{lazy}"
    assert rooms_imported(ast.parse(code)) == {"cli", "build", "store"}
    assert set(imports(ast.parse(code), lazy=False)) == {"didact.cli"}
