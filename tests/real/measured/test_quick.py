"""``python -m bench adapters --quick`` in the environment of an engine: both sides are measured in every row."""

from __future__ import annotations

import pytest

from bench.__main__ import main
from bench.report import load
from tests.real.installed import ENGINES, is_installed


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if is_installed(engine)])
def test_both_sides_are_measured(engine, tmp_path):
    pytest.importorskip("rich", reason="the benchmarks print tables with rich, which this environment has not")
    file = tmp_path / "found.json"
    assert main(["adapters", "--quick", "--engine", engine, "--json", str(file), "--path", str(tmp_path)]) == 0
    result = load(file)
    assert not result.missing
    assert len(result.rows) == (18 if engine == "lmcache" else 9)
    assert all(len(row.samples) >= 2 and not row.missing for row in result.rows)
