"""Results: as tables in the terminal, as JSON with every sample, as Markdown for docs/benchmarks.md."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.harness import Row
from bench.peers import INDEX_PEERS
from bench.pivot import columns, figure, pivot
from bench.targets import OURS, Verdict, judge

__all__ = ["Result", "beside_earlier", "load", "markdown", "print_result", "save"]


_CEILINGS = tuple(kind.name for kind in INDEX_PEERS if not kind.durable)


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
    skipped: dict[str, str] = field(default_factory=dict)
    """What was asked for and not measured, with the reason."""
    scale: float = 1.0
    """Below 1: a try-out."""

    def groups(self) -> dict[str, list[Row]]:
        """The rows by group, in the order of the groups' first rows."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.group, []).append(row)
        return found


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
    derived = ("medians", "verdicts")
    rows = [Row(**{name: raw[name] for name in raw if name not in derived}) for raw in record.pop("rows")]
    return Result(rows=rows, **record)


def beside_earlier(result: Result, path: Path) -> Result:
    """The result with those rows of the file at ``path`` that it did not measure: a suite may be measured part by part."""
    if not path.exists():
        return result
    earlier = load(path)
    now = {(row.group, row.name) for row in result.rows}
    kept = [row for row in earlier.rows if (row.group, row.name) not in now]
    return replace(result, rows=[*kept, *result.rows], seconds=round(earlier.seconds + result.seconds, 1))


def _lines(row: Row) -> list[tuple[str, str, str, str]]:
    """Per subject, fastest first: name, median, range, and our speed over its."""
    lines = []
    for name in sorted(row.samples, key=row.figure, reverse=row.better == "higher"):
        low, high = row.span(name)
        speed = row.speed(OURS, name)
        ratio = "" if speed is None or name == OURS else f"{speed:.2f}x"
        lines.append((name, figure(row.figure(name)), f"{figure(low)} - {figure(high)}", ratio))
    return lines


def _mark(verdict: Verdict) -> str:
    return {True: "met", False: "MISSED", None: "open"}[verdict.met]


def print_result(result: Result, console: Console) -> None:
    """The measured tables, the targets, and who was missing."""
    kind = "quick run" if result.quick else "full run" if result.scale == 1 else f"scale {result.scale:g}"
    machine = f"{result.machine['cores']} cores, {result.machine['system']}, {result.machine['file_system']}"
    title = f"bench {result.suite}: {kind}, {result.date}, {machine}"
    for group, rows in result.groups().items():
        console.print(_long_table(title, rows) if group == "core" else _wide_table(f"{title}; {group}", rows))
    _print_targets(result, console)
    for line in _remarks(result):
        console.print(line, highlight=False, markup=False, style="yellow")


def _long_table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    for name, justify in (("work", "left"), ("subject", "left"), ("median", "right"), ("range", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # a literal, widened by the loop
    table.add_column(f"speed of {OURS} / it", justify="right")
    for row in rows:
        rounds = max((len(found) for found in row.samples.values()), default=0)
        head = [row.name, f"[dim]{row.unit}, {rounds} rounds[/]"]
        lines = _lines(row)
        for i in range(max(2, len(lines))):
            cells = lines[i] if i < len(lines) else ("", "", "", "")
            bold = "bold" if cells[0] == OURS else None
            table.add_row(head[i] if i < 2 else "", *cells, style=bold, end_section=i == max(2, len(lines)) - 1)
    return table


def _wide_table(title: str, rows: list[Row]) -> Table:
    subjects = columns(rows, OURS)
    table = Table(title=f"{title}; in brackets the speed of {OURS} / it", title_justify="left")
    table.add_column("work")
    for name in subjects:
        table.add_column(name, justify="right", style="bold" if name == OURS else None)
    for cells in pivot(rows, subjects, OURS):
        table.add_row(*cells)
    return table


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


def _remarks(result: Result) -> list[str]:
    """Everything worth knowing below the tables, a line each."""
    absent = [f"{name}: {why}" for name, why in _absences(result).items()]
    ceilings = [name for name in _CEILINGS if any(row.samples.get(name) for row in result.rows)]
    absent += [f"{name}: in this process's memory only, nothing survives it; a ceiling, no rival" for name in ceilings]
    notes = [f"{name} in {row.name!r}: {note}" for row in result.rows for name, note in row.notes.items()]
    return [*absent, *notes, *(f"skipped, {what}: {why}" for what, why in result.skipped.items())]


def markdown(result: Result) -> str:
    """The same tables for the documentation."""
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    machine = f"{result.machine['cores']}-core Linux machine, {result.machine['memory_gib']} GiB, {result.machine['file_system']}"
    told = "" if result.scale == 1 else f"; scale {result.scale:g}"
    lines = [f"Measured {result.date} on a {machine}; {versions}; seed {result.seed}{told}.", ""]
    groups = result.groups()
    for group, rows in groups.items():
        if len(groups) > 1:
            lines += [f"**{group}**", ""]
        lines += _long_markdown(rows) if group == "core" else _wide_markdown(rows)
    verdicts = [f"| {row.name} | {v.level} | {v.wanted} | {v.found} | {_mark(v)} |" for row in result.rows for v in judge(row)]
    if verdicts or "core" in groups:
        lines += ["| work | level | wanted | found | |", "|---|---|---|---|---|", *verdicts, ""]
    lines += _remarks(result) if "core" in groups else [f"* {line}" for line in _remarks(result)]
    return "\n".join(lines).rstrip() + "\n"


def _long_markdown(rows: list[Row]) -> list[str]:
    lines = [f"| work | subject | median | range | speed of {OURS} / it |", "|---|---|---:|---:|---:|"]
    for row in rows:
        for i, (name, median, span, ratio) in enumerate(_lines(row)):
            subject = f"**{name}**" if name == OURS else name
            lines.append(f"| {f'{row.name} ({row.unit})' if i == 0 else ''} | {subject} | {median} | {span} | {ratio} |")
    return [*lines, ""]


def _wide_markdown(rows: list[Row]) -> list[str]:
    subjects = columns(rows, OURS)
    heads = ["work", *(f"**{name}**" if name == OURS else name for name in subjects)]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * len(subjects) + "|"]
    return [*lines, *("| " + " | ".join(cells) + " |" for cells in pivot(rows, subjects, OURS)), ""]
