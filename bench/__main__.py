"""``python -m bench index|pages|keys|adapters`` measures; ``python -m bench docs`` writes results into docs/benchmarks.md."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import FrameType

from rich.console import Console

from bench.adapters import ENGINES, run_adapters
from bench.docs import write_docs
from bench.index import GROUPS, run_groups
from bench.keys import run_keys
from bench.machine import describe_machine, today, versions
from bench.pages.groups import PAGE_GROUPS
from bench.peers import INDEX_PEERS, PAGE_PEERS, POLICY_PEERS, Peer
from bench.report import Result, beside_earlier, print_result, save
from bench.scratch import scratch_dir
from bench.session import QUICK_S, Request, Session, progress_bar
from bench.targets import OURS

__all__ = ["main"]

_INTERRUPTED = 130


_SUITES: tuple[tuple[str, str, Iterable[type[Peer]]], ...] = (
    ("index", "small values: put, get, batch reads, scan, reopen, memory", (*INDEX_PEERS, *POLICY_PEERS)),
    ("pages", "KV-cache pages", PAGE_PEERS),
    ("keys", "encodings of page keys: anchored, flat, and the path of tokens", ()),
    ("adapters", "adapters beside the backends that engines bring; in the environment of the engine", ()),
)

_GROUPS_HELP = "\n\ngroups, with the minutes each takes on an idle machine with 2 cores:\n" + "\n".join(
    f"  {name:9} {group.minutes:3} min  {group.what}" for name, group in GROUPS.items()
)


_PAGE_GROUPS_HELP = "\n\ngroups, with the minutes each takes on an idle machine with 2 cores:\n" + "\n".join(
    f"  {name:9} {group.minutes:3} min  {group.what}" for name, group in PAGE_GROUPS.items()
)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        msg = f"must be above 0, not {text}"
        raise argparse.ArgumentTypeError(msg)
    return value


def _add_index_options(suite: argparse.ArgumentParser) -> None:
    names = (*GROUPS, "all")
    suite.add_argument(
        "--group", nargs="+", choices=names, default=["core"], metavar="NAME", help=f"{', '.join(names)} (default core)"
    )
    suite.add_argument(
        "--minutes", type=_positive, default=float("inf"), metavar="M", help="skip what is left of a group after M minutes"
    )
    suite.add_argument(
        "--scale", type=_positive, default=1.0, metavar="F", help="factor on entries and work: 0.01 tries a group out in seconds"
    )


def _add_adapter_options(suite: argparse.ArgumentParser) -> None:
    suite.add_argument(
        "--engine", nargs="+", choices=ENGINES, default=[], metavar="NAME", help=f"only these of {', '.join(ENGINES)}"
    )
    suite.add_argument(
        "--page-kib",
        nargs="+",
        type=int,
        default=[],
        metavar="KIB",
        help="only these pages; --json keeps the rows of others",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure lsmkv beside the stores people would use instead."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what, kinds in _SUITES:
        suite = commands.add_parser(
            name,
            help=what,
            description=f"{what}.{ {'index': _GROUPS_HELP, 'pages': _PAGE_GROUPS_HELP}.get(name, '') }",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        suite.add_argument("--quick", action="store_true", help="smaller and within 45 seconds; shows direction, not proof")
        suite.add_argument("--json", type=Path, metavar="FILE", help="also write every sample to FILE")
        suite.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only rows whose name contains one of these")
        suite.add_argument("--seed", type=int, default=1, help="of data, keys and orders (default 1)")
        suite.add_argument(
            "--path", metavar="DIR", help="where scratch space is made (default: the system's temporary directory)"
        )
        subjects = list(dict.fromkeys(kind.name for kind in kinds))
        if name == "keys":
            continue
        if name == "adapters":
            _add_adapter_options(suite)
            continue
        suite.add_argument(
            "--subjects", nargs="+", choices=subjects, default=[], metavar="NAME", help=f"only these of {', '.join(subjects)}"
        )
        if name == "index":
            _add_index_options(suite)
        else:
            names = (*PAGE_GROUPS, "all")
            suite.add_argument(
                "--group", nargs="+", choices=names, default=["core"], metavar="NAME", help=f"{', '.join(names)} (default core)"
            )
    commands.add_parser("docs", help="write the committed results into docs/benchmarks.md")
    return parser


def _request(options: argparse.Namespace, scratch: Path) -> Request:
    request = Request(options.quick, tuple(options.only), options.seed, scratch, subjects=tuple(getattr(options, "subjects", ())))
    if options.command != "index":
        return request
    return replace(request, scale=options.scale, limit_s=options.minutes * 60)


def _measure(options: argparse.Namespace) -> int:
    began = time.monotonic()
    with scratch_dir(options.path) as scratch, progress_bar() as progress:
        request = _request(options, scratch)
        session = Session(request, random.Random(options.seed), progress)
        if options.command == "index":
            run_groups(session, list(GROUPS) if "all" in options.group else options.group)
        elif options.command == "keys":
            run_keys(session)
        elif options.command == "adapters":
            run_adapters(session, tuple(options.engine), tuple(kib << 10 for kib in options.page_kib))
        else:
            if options.quick:
                session.ends = session.began + QUICK_S
            for name in PAGE_GROUPS if "all" in options.group else options.group:
                PAGE_GROUPS[name].run(session)
        machine = describe_machine(scratch)
    result = Result(
        options.command,
        options.quick,
        options.seed,
        today(),
        machine,
        versions(),
        session.rows,
        session.missing,
        round(time.monotonic() - began, 1),
        session.skipped,
        options.scale if options.command == "index" else 1.0,
    )
    if not session.rows and not session.skipped:
        print(f"no row's name contains any of {options.only}", file=sys.stderr)
        return 2
    print_result(result, Console() if sys.stdout.isatty() else Console(width=120))
    print(f"{result.seconds:.0f} s")
    if options.json:
        save(beside_earlier(result, options.json) if options.command == "adapters" else result, options.json)
    return 1 if OURS in session.missing or any(OURS in row.missing for row in session.rows) else 0


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 1 if lsmkv failed in a row, 2 for a wrong request, 130 if interrupted."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _stop)
    try:
        return write_docs() if options.command == "docs" else _measure(options)
    except KeyboardInterrupt:
        print("interrupted; scratch space removed", file=sys.stderr)
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
