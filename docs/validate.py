"""The validation anew, in one command: ``python docs/validate.py`` (``make validate``), best on a machine that does nothing else.

Runs ``lsmkv lab validate`` on the whole grid (some fifteen minutes), writes ``docs/lab/validate.csv`` and beside it what it was
measured on (``docs/lab/validate.json``), then the tables that rest on them, in docs/cost-model.md and docs/lab.md.
``--note TEXT`` is what a reader should know of the machine; ``--like-before`` leaves the run out and only writes the tables.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from argparse import ArgumentParser
from datetime import UTC, datetime
from multiprocessing import cpu_count
from pathlib import Path

HERE = Path(__file__).parent
CSV, ABOUT = HERE / "lab/validate.csv", HERE / "lab/validate.json"
NEW = HERE / "lab/validate.new.csv"
"""Rows while they are made: a run that ends early leaves the committed ones and the pages as they were."""


def main() -> None:
    """Do it."""
    parser = ArgumentParser(description="Validate the cost model anew and write the pages that tell how near it comes.")
    parser.add_argument("--note", default="", help="a sentence about the machine while it ran, for the reader")
    parser.add_argument("--like-before", action="store_true", help="write the pages from the rows that are there")
    given = parser.parse_args()
    if not given.like_before:
        began = datetime.now(UTC)
        _run()
        about = {
            "machine": f"{cpu_count()} cores, {platform.system()}",
            "date": f"{began:%Y-%m-%d}",
            "python": platform.python_version(),
            "minutes": round((datetime.now(UTC) - began).total_seconds() / 60),
            "note": given.note,
        }
        ABOUT.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    for script, target in (("lab_tables.py", "cost-model.md"), ("lab_page.py", "lab.md")):
        subprocess.run([sys.executable, HERE / script, HERE / target], check=True)  # noqa: S603 - our own


def _run() -> None:
    """The whole grid into ``CSV``; ends the program if it is not measured to its end."""
    try:
        subprocess.run([Path(sys.executable).parent / "lsmkv", "lab", "validate", "--csv", NEW], check=True)  # noqa: S603 - our own
    except (subprocess.CalledProcessError, KeyboardInterrupt):
        sys.exit(f"the grid was not measured to its end: {CSV.name} and the pages stay as they were; rows that are done: {NEW}")
    NEW.replace(CSV)


if __name__ == "__main__":
    main()
