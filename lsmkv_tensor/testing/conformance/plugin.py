"""The pytest option ``--backend module:factory``: given where pytest is told ``-p lsmkv_tensor.testing.conformance.plugin``."""

from __future__ import annotations

from typing import Any

__all__ = ["pytest_addoption"]


def pytest_addoption(parser: Any) -> None:  # noqa: ANN401 - pytest's Parser
    """Add it."""
    parser.addoption("--backend", metavar="MODULE:FACTORY", help="subject that the conformance cases run against")
    parser.addoption("--case-seconds", type=float, default=60.0, metavar="S", help="seconds a case may take")
