"""The cases as a class of tests: derive from it in a test suite of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from lsmkv_tensor.testing.conformance.cases import CASES
from lsmkv_tensor.testing.conformance.protocol import NonconformingError, Subject
from lsmkv_tensor.testing.conformance.running import run_case

__all__ = ["ConformanceSuite"]


def _test(name: str) -> Any:  # noqa: ANN401 - a test method
    """The method that runs a case."""

    def test(self: ConformanceSuite, tmp_path: Path) -> None:
        """Says what the case asks, below."""
        self.check(name, tmp_path)

    test.__doc__ = CASES[name].asks
    return test


class ConformanceSuite:
    """A test per case, in this process. Derive from it, and say ``subject``; pytest collects what is called ``Test...``."""

    subject: ClassVar[Subject]

    def check(self, name: str, directory: Path) -> None:
        """Run a case; NonconformingError with the reason if it fails, skipped where it does not apply."""
        verdict = run_case(self.subject, name, directory)
        if verdict.outcome == "skip":
            import pytest  # noqa: PLC0415 - only where tests run

            pytest.skip(verdict.why)
        if verdict.outcome == "fail":
            raise NonconformingError(f"{name}: {verdict.why}")


for _name in CASES:
    setattr(ConformanceSuite, f"test_{_name.replace(' ', '_')}", _test(_name))
