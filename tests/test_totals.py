"""The independent count of records agrees with validation where both count the same, and shows where they do not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from click.testing import CliRunner

from benchmarks.totals import main

ROW = {"instruction": "Name a river.", "input": "", "output": "The Nile."}


def test_totals_agree_and_a_difference_is_told(tmp_path: Path) -> None:
    """Every container is counted apart from Didact; a file of which a row is lost is told, and the exit code is 1."""
    (tmp_path / "a.json").write_text(json.dumps([ROW] * 3))
    (tmp_path / "b.jsonl").write_text(f"{json.dumps(ROW)}\n\n{{\n")
    (tmp_path / "c.csv").write_text('instruction,input,output\na,,"b\nc"\nd\n')
    (tmp_path / "d.json.gz").write_bytes(
        gzip.compress(json.dumps({"examples": [{"input": "a", "target": "b"}]}).encode())
    )
    (tmp_path / "e.txt").write_text("Once.")
    ran = CliRunner().invoke(main, [str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    assert "5 files, 4 counted, 0 differ, 0 with records lost" in ran.output
    # Instances without a task are two rows to the count, and one object in no known format to Didact.
    (tmp_path / "f.json").write_text(json.dumps({"Instances": [{}, {}]}))
    (tmp_path / "g.jsonl.gz").write_bytes(gzip.compress(json.dumps(ROW).encode())[:-4])
    ran = CliRunner().invoke(main, [str(tmp_path)])
    assert ran.exit_code == 1 and "| **NO** |" in ran.output
