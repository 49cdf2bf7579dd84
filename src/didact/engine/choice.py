"""Which engine runs a build: asked for by name, started where the work begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, get_args

from didact.engine.base import Engine
from didact.engine.local import LocalEngine, fitting_workers
from didact.engine.server import refuse_while_starting
from didact.errors import CallError, UnknownName
from didact.remote.folder import Folder

EngineName = Literal["local", "ray"]


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine by name; `workers` and, for Ray, the address of a cluster as far as the caller says them.

    Raises UnknownName for another name, CallError for an address that the engine has no use for.
    """

    name: EngineName = "local"
    workers: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        refuse_while_starting()
        if self.name not in get_args(EngineName):
            raise UnknownName("engine", self.name, get_args(EngineName))
        if self.address is not None and self.name != "ray":
            raise CallError(f"address '{self.address}': only the engine `ray` connects to a cluster; add --engine ray")

    @property
    def distributed(self) -> bool:
        """Whether work may run on machines that have another current folder."""
        return self.name == "ray"

    def open(
        self, total_bytes: int, shared: Folder, preload: Sequence[str], note: Callable[[str], None]
    ) -> AbstractContextManager[Engine]:
        """The engine, not entered yet.

        total_bytes: of the inputs. shared: a folder that every worker must see. preload: see `LocalEngine`.
        """
        if self.name == "ray":
            from didact.engine.ray import RayEngine

            return RayEngine(self.workers, self.address, shared, note)
        return LocalEngine(self.workers or fitting_workers(total_bytes), preload)
