"""The pytest option ``--backend module:factory``: given where pytest is told ``-p lsmkv_tensor.testing.conformance.plugin``."""

from __future__ import annotations

from typing import Any

from lsmkv_tensor.testing.conformance.running import subject_of

__all__ = ["pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: Any) -> None:  # noqa: ANN401 - pytest's Parser
    """Add it."""
    parser.addoption("--backend", metavar="MODULE:FACTORY", help="subject that the conformance cases run against")
    parser.addoption("--case-seconds", type=float, default=60.0, metavar="S", help="seconds a case may take")


def pytest_configure(config: Any) -> None:  # noqa: ANN401 - pytest's Config
    """Refuse a backend that cannot be loaded, and no time at all, before any test runs: pytest's UsageError."""
    import pytest  # noqa: PLC0415 - only where tests run

    backend, seconds = config.getoption("--backend"), config.getoption("--case-seconds")
    if not seconds > 0:
        msg = f"--case-seconds {seconds:g}: must be more than 0"
        raise pytest.UsageError(msg)
    if backend is None:
        return
    try:
        subject_of(backend)
    except Exception as error:  # whatever somebody else's module raises
        msg = f"--backend {backend}: cannot be loaded: {type(error).__name__}: {error}"
        raise pytest.UsageError(msg) from error
