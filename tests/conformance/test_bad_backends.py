"""Every case fails for the backend that was made to fail it, and for nobody else."""

from __future__ import annotations

import ctypes

import pytest

from lsmkv_tensor.testing.conformance import CASES, ConformanceSuite, run_case
from tests.conformance.backends import BAD, Good, Of


@pytest.mark.parametrize("kind", [Good, *BAD], ids=lambda kind: kind.__name__)
def test_a_bad_backend_fails_the_intended_case_and_no_other(kind, tmp_path):
    verdicts = [run_case(Of(kind), name, tmp_path) for name in CASES]
    failed = {v.case: v.why for v in verdicts if v.outcome == "fail"}
    assert list(failed) == ([kind.intended] if kind in BAD else []), failed
    assert not [v for v in verdicts if v.outcome == "skip"]


def test_every_case_has_a_backend_that_fails_it():
    assert {kind.intended for kind in BAD} == set(CASES)


def test_nothing_is_left_behind(tmp_path):
    run_case(Of(), "restart", tmp_path)
    assert not list(tmp_path.iterdir())


class TestOfMyOwn(ConformanceSuite):
    """As somebody else's test suite has it."""

    subject = Of()


def test_bytes_beside_the_memory_that_was_given_are_seen(tmp_path):
    class WritesBeside(Good):
        def get(self, keys, out, deadline_s):
            flags = super().get(keys, out, deadline_s)
            ctypes.memset(out.ctypes.data + out.nbytes, 0, 1)
            return flags

    verdict = run_case(Of(WritesBeside), "round trip", tmp_path)
    assert verdict.why == "a get wrote beside the memory it was given"
