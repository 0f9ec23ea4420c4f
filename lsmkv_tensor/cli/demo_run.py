"""Run the demo's processes one after another and show what they are at.

Each is a fresh interpreter in a process group of its own, whose standard input is a pipe that only we hold: it ends with us,
however we end. On a terminal the stages move past as progress bars; elsewhere (a log, continuous integration) each stage is
one plain line when it is over.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from lsmkv.env.clock import SystemClock
from lsmkv_tensor.cli.demo_spec import DemoError, Spec
from lsmkv_tensor.runtime.process import environment, kill_group

__all__ = ["run_child"]

QUIET: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}
"""Nothing in a child looks anything up on a network (the download is pip's), and libraries keep to errors."""

TUNED: Final = {"OMP_WAIT_POLICY": "PASSIVE"}
"""For both processes alike, unless the environment says otherwise. OpenMP's threads otherwise spin for each other; on a machine
with other work that made a pass over 5 tokens take between 0.1 and 11 s. (Huge pages for torch's memory were tried: after a
cold read has filled the page cache, finding them makes the next pass two to three times as slow.)"""


class _Stages:
    """What the person in front of the screen sees of one child."""

    def __init__(self, console: Console, title: str) -> None:
        """Show the stages of ``title``."""
        self._console = console
        self._title = title
        self._clock = SystemClock()
        self._text = ""
        self._begun = 0.0
        self._task: TaskID | None = None
        self._bars = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        """Begin to show."""
        self._console.print(f"[bold]{escape(self._title)}[/]")
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """The last stage is over; an unfinished one stays as it is."""
        if kind is None:
            self._finish()
        self._bars.stop()

    def stage(self, text: str) -> None:
        """A new stage begins."""
        self._finish()
        self._text, self._begun = text, self._clock.monotonic()
        self._task = self._bars.add_task(escape(text), total=None)

    def progress(self, done: int, total: int) -> None:
        """How far the stage is."""
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total or None)

    def _finish(self) -> None:
        """The current stage is over."""
        if self._task is None:
            return
        self._bars.update(self._task, total=1, completed=1)
        self._task = None
        if not self._console.is_terminal:
            seconds = self._clock.monotonic() - self._begun
            self._console.print(f"  {escape(self._text)}: {seconds:.1f} s", highlight=False, soft_wrap=True)


def run_child(spec: Spec, console: Console, title: str) -> dict[str, Any]:
    """Run one task in a fresh process; its result. Raises :class:`DemoError` when it fails or dies.

    I/O: what the child does, and its standard error in ``<task>.log`` beside the store.
    """
    log = Path(spec.path) / f"{spec.task}.log"
    command = [sys.executable, "-m", "lsmkv_tensor.cli.demo_child", spec.to_json()]
    with log.open("wb") as err, _Stages(console, title) as stages:
        child = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=err,
            env=TUNED | environment(QUIET | {"OMP_NUM_THREADS": str(spec.threads)}),
            process_group=0,
        )
        try:
            outcome = _follow(child, stages)
            code = child.wait()
        finally:
            kill_group(child.pid)
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()
    if outcome.get("event") == "result" and code == 0:
        return dict(outcome["data"])
    if outcome.get("event") == "error":
        raise DemoError(outcome["text"], outcome["code"])
    if code < 0:
        msg = f"{title} was killed by signal {-code}; nothing is lost: run the demo again"
        raise DemoError(msg, 1)
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    msg = f"{title} failed: {lines[-1].strip() if lines else f'exit code {code}'} (all of it: {log})"
    raise DemoError(msg, 1)


def _follow(child: subprocess.Popen[bytes], stages: _Stages) -> dict[str, Any]:
    """Show what the child says until it closes its output; its last word."""
    assert child.stdout is not None
    outcome: dict[str, Any] = {}
    for line in child.stdout:
        try:
            message = json.loads(line)
        except ValueError:
            continue  # a library's chatter
        match message:
            case {"event": "stage", "text": str(text)}:
                stages.stage(text)
            case {"event": "progress", "done": int(done), "total": int(total)}:
                stages.progress(done, total)
            case {"event": "result" | "error"}:
                outcome = message
            case _:
                continue
    return outcome
