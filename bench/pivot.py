"""Rows of a group as a table with a column per subject: what a reader compares stands side by side."""

from __future__ import annotations

from bench.harness import Row
from bench.peers import INDEX_PEERS, POLICY_PEERS

__all__ = ["columns", "figure", "pivot"]


_ORDER = {kind.name: place for place, kind in enumerate((*POLICY_PEERS, *INDEX_PEERS))}


def figure(value: float) -> str:
    """Three significant digits, without exponents."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.1 or value == 0 else f"{value:.2g}"


def columns(rows: list[Row], ours: str) -> list[str]:
    """Every subject that was measured in one of the rows: ours first, then bare loads, then the peers in their order."""
    found = dict.fromkeys(name for row in rows for name in row.samples if row.samples[name])
    return sorted(found, key=lambda name: (name != ours, _ORDER.get(name, -1)))


def _cell(row: Row, subject: str, ours: str) -> str:
    if not row.samples.get(subject):
        return "-"
    told = figure(row.figure(subject))
    speed = row.speed(ours, subject)
    return told if subject == ours or speed is None else f"{told} ({figure(speed)}x)"


def pivot(rows: list[Row], subjects: list[str], ours: str) -> list[list[str]]:
    """A line per row: name and unit, then each subject's figure with our speed over its."""
    return [[f"{row.name} ({row.unit})", *(_cell(row, subject, ours) for subject in subjects)] for row in rows]
