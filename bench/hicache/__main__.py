"""``python -m bench.hicache``: how late a scheduler's thread comes beside SGLang's controller and its storage.

Runs in the environment that ``make test-sglang`` makes: ``.venv-sglang/bin/python -m bench.hicache --json FILE``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.hicache.ticks import SUBJECTS, run
from bench.machine import describe_machine, today, versions
from bench.scratch import scratch_dir


def main() -> int:
    """The command; 1 if a run failed, 2 without SGLang."""
    parser = argparse.ArgumentParser(prog="python -m bench.hicache", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="turns of each subject (default 3)")
    parser.add_argument("--window", type=float, default=6.0, metavar="S", help="seconds of ticks in each (default 6)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every sample to FILE")
    parser.add_argument("--path", metavar="DIR", help="where scratch space is made (default: the system's temporary directory)")
    options = parser.parse_args()
    try:
        sglang = importlib.metadata.version("sglang")
    except importlib.metadata.PackageNotFoundError:
        print("SGLang is not installed here: make test-sglang, then .venv-sglang/bin/python -m bench.hicache", file=sys.stderr)
        return 2
    console = Console(stderr=True)
    with scratch_dir(options.path) as scratch, console.status("the first run imports SGLang") as status:
        result = run(Path(scratch), options.rounds, options.window, lambda line: (console.print(line), status.update(line))[0])
        machine = describe_machine(Path(scratch))
    about = {"command": "python -m bench.hicache", "date": today(), "machine": machine, "versions": versions()}
    about["versions"]["sglang"] = sglang
    if options.json:
        options.json.write_text(json.dumps(about | result, indent=1) + "\n", encoding="utf-8")
    table = Table("beside", "p99 late, ms (median)", "worst, ms", title="A thread that ticks every 5 ms")
    for subject in SUBJECTS:
        found = result["summary"].get(subject)
        table.add_row(subject, *(["failed", ""] if found is None else [f"{found['p99_ms']:.2f}", f"{found['max_ms']:.1f}"]))
    Console().print(table)
    return 1 if any("failed" in sample for sample in result["samples"]) else 0


if __name__ == "__main__":
    sys.exit(main())
