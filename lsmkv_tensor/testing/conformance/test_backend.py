"""The cases as pytest's tests, each in a process of its own, for the backend that ``--backend`` names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lsmkv_tensor.testing.conformance.cases import CASES
from lsmkv_tensor.testing.conformance.isolated import run_isolated
from lsmkv_tensor.testing.conformance.running import subject_of

__all__ = ["test_conformance"]


@pytest.mark.parametrize("case", CASES)
def test_conformance(case: str, request: Any, tmp_path: Path) -> None:  # noqa: ANN401 - pytest's FixtureRequest
    """One case."""
    backend = request.config.getoption("--backend", None)
    if backend is None:
        pytest.skip("no backend: -p lsmkv_tensor.testing.conformance.plugin --backend module:factory")
    (verdict,) = run_isolated(subject_of(backend), [case], limit_s=request.config.getoption("--case-seconds"), root=tmp_path)
    if verdict.outcome == "skip":
        pytest.skip(verdict.why)
    assert verdict.outcome == "pass", verdict.why
