"""One-dimensional .npy files that grow while they are written and are memory-mapped when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from didact.errors import StoreError

_HEADER_BYTES = 128


class NpyWriter:
    """Appends arrays to a .npy file; the file is readable once the writer is closed.

    The header has a fixed size, so the number of rows can be entered at the end. `width` makes rows of so many entries.
    """

    def __init__(self, path: Path, dtype: DTypeLike, width: int = 0) -> None:
        self._dtype = np.dtype(dtype)
        self._width = width
        self._rows = 0
        self._handle = path.open("wb")
        self._handle.write(bytes(_HEADER_BYTES))

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows, converted to the file's type."""
        self._handle.write(np.ascontiguousarray(rows, dtype=self._dtype).tobytes())
        self._rows += len(rows)

    def close(self) -> None:
        """Write the header and close."""
        if self._handle.closed:
            return
        try:
            self._handle.seek(0)
            self._handle.write(_header(self._dtype, (self._rows, self._width) if self._width else (self._rows,)))
        finally:
            self._handle.close()  # a full disk refuses the header too, and the handle must go all the same

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Header of .npy format 1.0, filled up to a fixed size."""
    described = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    size = (_HEADER_BYTES - 10).to_bytes(2, "little")
    return b"\x93NUMPY\x01\x00" + size + described.ljust(_HEADER_BYTES - 11) + b"\n"


def open_npy(path: Path) -> NDArray[Any]:
    """Map a .npy file into memory, read-only. Raises StoreError when it is absent or damaged."""
    try:
        if path.stat().st_size == _HEADER_BYTES:  # an empty mapping is not possible
            return np.load(path, allow_pickle=False)
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not readable as a .npy file ({error}); tokenize the version again") from error
