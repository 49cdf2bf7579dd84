"""A build loads neither pandas nor SciPy, and whoever needs them has them."""

from __future__ import annotations

import os
import subprocess
import sys

_CODE = """
import sys
from didact.engine.unused import leave_out_unused
leave_out_unused()
import numba, numpy as np, pyarrow as pa
from numba import njit
assert njit(lambda values: values.sum())(np.ones(3)) == 3
table = pa.table({"a": [1, None], "b": np.arange(2)})
assert not {"pandas", "scipy.linalg"} & sys.modules.keys()

assert table.to_pandas()["b"].tolist() == [0, 1]
import pandas as pd
assert pa.array(pd.Series([1.0, None])).null_count == 1
assert njit(lambda one, other: np.dot(one, other))(np.ones(3), np.ones(3)) == 3
assert "scipy.linalg" in sys.modules
"""


def test_pandas_and_scipy_are_loaded_by_their_first_use() -> None:
    """Arrow converts to and from pandas, and numba calls BLAS, after both were loaded without."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", _CODE], env=environment, check=True)
