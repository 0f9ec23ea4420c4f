"""Runs cases in processes of their own: a backend may crash, hang, or leave threads behind that never end."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path

from lsmkv_tensor.testing.conformance.protocol import Subject, Verdict
from lsmkv_tensor.testing.conformance.running import run_case

__all__ = ["run_isolated"]

LIMIT_S = 60.0
"""Seconds that a case may take."""


def run_isolated(
    subject: Subject,
    names: Iterable[str],
    *,
    limit_s: float = LIMIT_S,
    root: Path | None = None,
    tell: Callable[[Verdict], None] = lambda _: None,
) -> list[Verdict]:
    """The verdicts of these cases, each from a child of this process that is killed after ``limit_s`` seconds.

    ``tell`` hears each verdict as it comes. The child is a fork, so an engine is imported once. I/O: as :func:`run_case`.
    """
    found = []
    for name in names:
        verdict = _run(subject, name, limit_s, root)
        tell(verdict)
        found.append(verdict)
    return found


def _run(subject: Subject, name: str, limit_s: float, root: Path | None) -> Verdict:
    """One case in a child."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(subject, name, root, there))
    child.start()
    there.close()
    try:
        if not here.poll(limit_s):
            return Verdict(name, "fail", f"not done after {limit_s:g} s: it hangs")
        verdict: Verdict = here.recv()
    except EOFError:
        child.join()
        return Verdict(name, "fail", f"the process ended with exit code {child.exitcode}")
    else:
        return verdict
    finally:
        child.kill()  # it may have threads that never end
        child.join()
        here.close()


def _child(subject: Subject, name: str, root: Path | None, told: Connection) -> None:
    """What the child does."""
    told.send(run_case(subject, name, root))
