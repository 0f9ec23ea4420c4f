"""``lsmkv calibrate``: what operations take on this machine, so that costs can be told in seconds."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from lsmkv.cli.output import emit_json, guard
from lsmkv.cli.tools import Tools
from lsmkv.cost.fit import fit_seconds
from lsmkv.cost.pricefile import calibration, save_calibration
from lsmkv.cost.seconds import Seconds
from lsmkv.env.clock import SystemClock
from lsmkv.env.fs import FileSystem
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.calibrate import FILL_STEPS, SCANS, STORES, Calibrator

__all__ = ["prices", "register"]

On = Annotated[str | None, typer.Option("--on", metavar="DIRECTORY", help="Where stores are made meanwhile: the disk to time.")]
File = Annotated[str | None, typer.Option("--file", help="Where to write. [default: calibration.json in the cache directory]")]
Entries = Annotated[int, typer.Option(min=1_000, help="Entries of each of the six stores; more are slower and surer.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]

PRICES = {
    "lookup_s": "a lookup, before filters and blocks",
    "found_s": "on top, if it finds its key",
    "scan_s": "a scan, before it opens any run",
    "seek_s": "a run that a scan opens",
    "update_s": "a write, log and memtable",
    "filter_check_s": "a filter asked",
    "block_s": "a block fetched",
    "block_read_s": "on top, if the cache has it not",
    "scan_entry_s": "an entry that a scan returns",
    "merge_byte_s": "a KiB written by flush or merge",
}
"""In words, and in this order."""
MICRO, KIB = 1e6, 1024
ENTRIES_PER_OPERATION, LEAST_OPERATIONS = 60, 50
"""As many lookups are timed at once as there are entries over the first, but no fewer than the second."""


def register(tools: Tools) -> None:
    """Add the command."""
    command: Callable[..., None] = calibrate
    tools.app.command()(command)


def prices(fs: FileSystem, path: str | None) -> Seconds | None:
    """The prices at ``path``, or at the usual place; None if they were never measured there."""
    return calibration(path, fs=fs)


def calibrate(on: On = None, file: File = None, entries: Entries = 60_000, as_json: Json = False) -> None:
    """Time operations on this machine, ten seconds or so, and keep what they take: `explain` then speaks in seconds."""
    with guard(as_json=as_json):
        if on is not None and not Path(on).is_dir():
            raise InvalidArgumentError(f"{on} is no directory: --on names one on the disk to time")
        steps = len(STORES) * (FILL_STEPS + 2 + len(SCANS))
        with (
            TemporaryDirectory(prefix="lsmkv-calibrate-", dir=on) as scratch,
            Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar,
        ):
            task, timings = bar.add_task("timing operations", total=steps), []
            for timing in Calibrator(
                scratch, entries=entries, operations=max(LEAST_OPERATIONS, entries // ENTRIES_PER_OPERATION)
            ).timings():
                timings.append(timing)
                bar.advance(task)
        fitted = fit_seconds(timings)
        machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        path = save_calibration(fitted, file, made_s=SystemClock().now(), machine=machine)
        if as_json:
            told = {"seconds": asdict(fitted.seconds), "mean_error": fitted.mean_error, "worst_error": fitted.worst_error}
            emit_json({"path": path, "machine": machine, **told, "timings": [asdict(timing) for timing in timings]})
            return
        for name, words in PRICES.items():
            price = getattr(fitted.seconds, name) * MICRO * (KIB if name == "merge_byte_s" else 1)
            typer.echo(f"{words:<38}{price:9.3f} us")
        typer.echo(f"off by {fitted.mean_error:.0%} on average over {len(timings)} timings, {fitted.worst_error:.0%} at worst")
        typer.echo(f"kept in {path}")
