"""Results: as tables in the terminal, as JSON with every sample, as Markdown for docs/benchmarks.md."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.harness import Row
from bench.targets import OURS, Verdict, judge

__all__ = ["Result", "load", "markdown", "print_result", "save"]


@dataclass(slots=True)
class Result:
    """One run of one suite, with what is needed to judge it."""

    suite: str
    quick: bool
    seed: int
    date: str
    machine: dict[str, str | int]
    versions: dict[str, str]
    rows: list[Row]
    missing: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def save(result: Result, path: Path) -> None:
    """Write everything, all samples included, as JSON."""
    record = asdict(result)
    for row, raw in zip(result.rows, record["rows"], strict=True):
        raw["medians"] = {name: row.median(name) for name in row.samples if row.samples[name]}
        raw["verdicts"] = [asdict(verdict) for verdict in judge(row)]
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Result:
    """Read what :func:`save` wrote."""
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    names = ("name", "key", "unit", "better", "samples", "missing")
    rows = [Row(**{name: raw[name] for name in names}) for raw in record.pop("rows")]
    return Result(rows=rows, **record)


def figure(value: float) -> str:
    """Three significant digits, without exponents."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.1 or value == 0 else f"{value:.2g}"


def _lines(row: Row) -> list[tuple[str, str, str, str]]:
    """Per subject, fastest first: name, median, range, and our speed over its."""
    lines = []
    for name in sorted(row.samples, key=row.median, reverse=row.better == "higher"):
        low, high = row.span(name)
        speed = row.speed(OURS, name)
        ratio = "" if speed is None or name == OURS else f"{speed:.2f}x"
        lines.append((name, figure(row.median(name)), f"{figure(low)} - {figure(high)}", ratio))
    return lines


def _mark(verdict: Verdict) -> str:
    return {True: "met", False: "MISSED", None: "open"}[verdict.met]


def print_result(result: Result, console: Console) -> None:
    """The measured table, the targets, and who was missing."""
    kind = "quick run" if result.quick else "full run"
    machine = f"{result.machine['cores']} cores, {result.machine['system']}, {result.machine['file_system']}"
    table = Table(title=f"bench {result.suite}: {kind}, {result.date}, {machine}", title_justify="left")
    for name, justify in (("work", "left"), ("subject", "left"), ("median", "right"), ("range", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # a literal, widened by the loop
    table.add_column(f"speed of {OURS} / it", justify="right")
    for row in result.rows:
        rounds = max((len(found) for found in row.samples.values()), default=0)
        head = [row.name, f"[dim]{row.unit}, {rounds} rounds[/]"]
        lines = _lines(row)
        for i in range(max(2, len(lines))):
            cells = lines[i] if i < len(lines) else ("", "", "", "")
            bold = "bold" if cells[0] == OURS else None
            table.add_row(head[i] if i < 2 else "", *cells, style=bold, end_section=i == max(2, len(lines)) - 1)
    console.print(table)
    _print_targets(result, console)
    for name, why in _absences(result).items():
        console.print(f"[yellow]{name}[/]: {why}", highlight=False)


def _print_targets(result: Result, console: Console) -> None:
    table = Table(title="targets (quick runs are smaller than what the targets mean)" if result.quick else "targets")
    for name in ("work", "level", "wanted", "found", ""):
        table.add_column(name)
    colour = {True: "green", False: "red", None: "yellow"}
    for row in result.rows:
        for i, verdict in enumerate(judge(row)):
            mark = f"[{colour[verdict.met]}]{_mark(verdict)}[/]"
            table.add_row(row.name if i == 0 else "", verdict.level, verdict.wanted, verdict.found, mark)
    if table.row_count:
        console.print(table)


def _absences(result: Result) -> dict[str, str]:
    """Who took no part, and who failed in which row."""
    absent = dict(result.missing)
    for row in result.rows:
        for name, why in row.missing.items():
            if name not in result.missing:
                absent[f"{name} in {row.name!r}"] = why
    return absent


def markdown(result: Result) -> str:
    """The same tables for the documentation."""
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    machine = f"{result.machine['cores']}-core Linux machine, {result.machine['memory_gib']} GiB, {result.machine['file_system']}"
    lines = [
        f"Measured {result.date} on a {machine}; {versions}; seed {result.seed}.",
        "",
        f"| work | subject | median | range | speed of {OURS} / it |",
        "|---|---|---:|---:|---:|",
    ]
    for row in result.rows:
        for i, (name, median, span, ratio) in enumerate(_lines(row)):
            subject = f"**{name}**" if name == OURS else name
            lines.append(f"| {f'{row.name} ({row.unit})' if i == 0 else ''} | {subject} | {median} | {span} | {ratio} |")
    lines += ["", "| work | level | wanted | found | |", "|---|---|---|---|---|"]
    for row in result.rows:
        lines += [f"| {row.name} | {v.level} | {v.wanted} | {v.found} | {_mark(v)} |" for v in judge(row)]
    lines += ["", *(f"{name}: {why}" for name, why in _absences(result).items())]
    return "\n".join(lines).rstrip() + "\n"
