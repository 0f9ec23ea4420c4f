"""What any backend that keeps pages of a KV cache on a disk must do, as cases that can be run against it.

A backend takes part through a :class:`Subject`: how it is opened, how large its pages are. ::

    python -m lsmkv_tensor.testing.conformance my.module:MySubject              # each case in a process, with a time limit
    pytest -p lsmkv_tensor.testing.conformance.plugin --pyargs lsmkv_tensor.testing.conformance --backend my.module:MySubject
    class TestMine(ConformanceSuite): subject = MySubject()                     # in a test suite of one's own

Nothing here needs torch, pytest (but for the last two) or any engine. docs/conformance.md says what each case asks, and who
passes.
"""

from lsmkv_tensor.testing.conformance.cases import CASES, Case
from lsmkv_tensor.testing.conformance.isolated import run_isolated
from lsmkv_tensor.testing.conformance.protocol import Backend, NotApplicableError, Subject, Verdict
from lsmkv_tensor.testing.conformance.running import run_case
from lsmkv_tensor.testing.conformance.suite import ConformanceSuite

__all__ = [
    "CASES",
    "Backend",
    "Case",
    "ConformanceSuite",
    "NotApplicableError",
    "Subject",
    "Verdict",
    "run_case",
    "run_isolated",
]
