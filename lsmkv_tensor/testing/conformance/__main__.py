"""``python -m lsmkv_tensor.testing.conformance module:factory ...``: run the cases, print a table, keep the results."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lsmkv_tensor.testing.conformance.cases import CASES
from lsmkv_tensor.testing.conformance.isolated import LIMIT_S, run_isolated
from lsmkv_tensor.testing.conformance.protocol import Verdict
from lsmkv_tensor.testing.conformance.results import keep, load_results, refused
from lsmkv_tensor.testing.conformance.running import one_line, subject_of

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0: all pass or do not apply, 1: one fails, 2: a subject cannot be made."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _check_files(parser, options)
    code = 0
    for name in options.subjects:
        try:
            subject = subject_of(name)
        except Exception as error:  # noqa: BLE001 - an engine's import may raise anything; its name and reason are the result
            why = f"{type(error).__name__}: {one_line(error)}"
            print(f"{name}: cannot be loaded: {why}", file=sys.stderr)  # noqa: T201 - a command
            if options.json is not None:
                keep(options.json, refused(name, why))
            code = 2
            continue
        print(f"{subject.name} ({subject.version or 'no version'})")  # noqa: T201 - a command
        verdicts = run_isolated(subject, options.case or CASES, limit_s=options.seconds, root=options.path, tell=_print)
        if options.json is not None:
            keep(options.json, {"name": subject.name, "version": subject.version, "cases": {v.case: v.told() for v in verdicts}})
        code = max(code, int(any(v.outcome == "fail" for v in verdicts)))
    return code


def _parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lsmkv_tensor.testing.conformance", description="Run the conformance cases against page backends."
    )
    parser.add_argument("subjects", nargs="+", metavar="MODULE:FACTORY", help="subjects to run the cases against")
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this case; may be given several times")
    parser.add_argument("--seconds", type=float, default=LIMIT_S, help=f"that a case may take (default {LIMIT_S:g})")
    parser.add_argument("--path", type=Path, metavar="DIR", help="where directories are made (default: for temporary files)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results in FILE, beside those of other backends")
    return parser


def _check_files(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse, before anything runs, what would lose the results or end every case; exits with 2."""
    if not options.seconds > 0:
        parser.error(f"--seconds {options.seconds:g}: must be more than 0")
    if options.path is not None and not options.path.is_dir():
        parser.error(f"--path {options.path}: is no directory")
    if options.json is not None:
        try:
            if options.json.exists():
                load_results(options.json)
            with options.json.open("a", encoding="utf-8"):
                pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            parser.error(f"--json {options.json}: cannot keep results there: {type(error).__name__}: {error}")


def _print(verdict: Verdict) -> None:
    """One line."""
    print(f"  {verdict.outcome:4}  {verdict.case:26} {verdict.why}".rstrip(), flush=True)  # noqa: T201 - a command


if __name__ == "__main__":
    sys.exit(main())
