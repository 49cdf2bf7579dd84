"""A build loads nothing that it does not use, and whoever needs that has it."""

from __future__ import annotations

import os
import subprocess
import sys

_KERNELS = """
import sys
from didact.engine.unused import leave_out_unused
leave_out_unused()
from didact.build import ready
ready.load_common(); ready.load_kernels()
import didact.build.preload
from didact.text.compiled import compiled_here
print(compiled_here(), {"pandas", "scipy.linalg"} & sys.modules.keys())

import numpy as np
from numba import njit
assert njit(lambda values: values.sum())(np.ones(3)) == 3
"""
_PANDAS = """
import sys
from didact.engine.unused import leave_out_unused
leave_out_unused()
import numpy as np, pyarrow as pa
table = pa.table({"a": [1, None], "b": np.arange(2)})
assert "pandas" not in sys.modules

assert table.to_pandas()["b"].tolist() == [0, 1]
import pandas as pd
assert pa.array(pd.Series([1.0, None])).null_count == 1
"""


def _printed(code: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def test_kernels_on_disk_are_loaded_without_what_compiles_them() -> None:
    """Once all kernels of a build are on disk, neither pandas is loaded nor SciPy, which numba loads to compile; and a
    function can still be compiled behind them.
    """
    _printed(_KERNELS)
    assert _printed(_KERNELS) == "False set()"


def test_pandas_is_loaded_by_its_first_use() -> None:
    """Arrow converts to and from pandas after it was loaded without."""
    assert _printed(_PANDAS) == ""
