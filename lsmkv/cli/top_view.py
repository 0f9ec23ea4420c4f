"""How ``lsmkv top`` draws a frame: what the store does, its levels, what a change of policy still owes, what happened last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lsmkv.env.clock import clock_face
from lsmkv.observe.frame import Frame, Memory, Rates, Stall
from lsmkv.observe.onlook import ago, number
from lsmkv.observe.picture import bar, human_bytes, policy_line
from lsmkv.observe.tree import COLOURS

__all__ = ["draw"]

STATES = {"open": "green", "idle": "green", "closed": "cyan", "unknown": "yellow", "missing": "yellow"}
"""Colours of states; the others are red."""

GAUGE_CELLS = 8
FIXED_CELLS = 72
"""Columns that the table of levels takes beside its bars."""


def draw(frame: Frame, width: int, height: int | None = None, zone_s: int = 0) -> RenderableType:
    """One frame, ``width`` columns wide; with a ``height`` it shows as many events as fit into so many lines.

    ``zone_s``: seconds to add to universal time for the times of events.
    """
    parts: list[RenderableType] = [_head(frame, width)]
    if frame.policy is not None:
        parts += [Text(), *_doing(frame, width), Text(), _levels(frame, width)]
        debt = _debt(frame)
        parts += [Text(), _line("debt", debt, width)] if debt is not None else []
    used = len(parts) + (len(frame.levels) + 1 if frame.policy is not None else 0)
    most = 8 if height is None else max(height - used - 1, 0)
    lines = [_event(event, zone_s) for event in frame.events[-most:]] if most else []
    if lines:
        parts.append(Text())
        for line in reversed(lines):
            line.truncate(width, overflow="ellipsis")
            parts.append(line)
    return Group(*parts)


def _head(frame: Frame, width: int) -> Text:
    """Which store, in which state."""
    text = Text()
    text.append(frame.path, style="bold")
    text.append("  ")
    text.append(frame.about if frame.state != "damaged" else f"damaged: {frame.about}", style=STATES.get(frame.state, "bold red"))
    if frame.up_s is not None and frame.state in ("open", "idle"):
        text.append(f", up {ago(frame.up_s)}", style="dim")
    if frame.policy is not None:
        text.append(f"\n{policy_line(frame.policy)}; {frame.entries:,} entries in {frame.tables:,} tables, ")
        text.append(f"{human_bytes(frame.table_bytes)}; logs {human_bytes(frame.log_bytes)}")
    lines = text.split("\n")
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def _doing(frame: Frame, width: int) -> list[Text]:
    """Rates, memory, stalls and failures: a line each."""
    lines = []
    if frame.rates is not None:
        lines += [_line(name, text, width) for name, text in _rates(frame.rates)]
    if frame.memory is not None:
        lines.append(_line("memory", _memory(frame.memory, frame.rates), width))
    if frame.rates is not None and frame.rates.source != "events":
        lines.append(_line("slowed", _waits(frame.slowdowns, frame.rates.slowed_share, frame.slowed, "yellow"), width))
        lines.append(_line("stalls", _waits(frame.stalls, frame.rates.stalled_share, frame.blocked, "bold red"), width))
    amplified = (("write", frame.write_amplification), ("read", frame.read_amplification))
    costs = ", ".join(f"{name} amplification {value:.2f}" for name, value in amplified if value is not None)
    if costs:
        lines.append(_line("costs", Text(f"{costs} since opening"), width))
    if frame.failures:
        text = Text(f"{frame.failures:,} of background work, the last: {frame.last_error}", style="bold red")
        lines.append(_line("failures", text, width))
    return lines or [_line("rates", Text("nobody tells", style="dim"), width)]


def _line(name: str, text: Text, width: int) -> Text:
    """One named line."""
    line = Text(f"{name:<9}", style="dim")
    line.append_text(text)
    line.truncate(width, overflow="ellipsis")
    return line


def _rates(rates: Rates) -> list[tuple[str, Text]]:
    """What calls do, and what that makes the store do."""
    over = {
        "status": f"over {ago(rates.over_s)}",
        "opening": f"since opening, {ago(rates.over_s)}",
        "events": f"from the event log, over {ago(rates.over_s)}",
    }[rates.source]
    calls = Text()
    if rates.writes_per_s is not None:
        calls.append(f"{_count(rates.writes_per_s)} writes/s", style="bold" if rates.writes_per_s else "")
        calls.append(f" ({_speed(rates.write_bytes_per_s)}), {_count(rates.lookups_per_s)} lookups/s, ")
        calls.append(f"{_count(rates.scans_per_s)} scans/s")
    disk = Text(f"log {_speed(rates.wal_bytes_per_s)}, " if rates.wal_bytes_per_s is not None else "")
    disk.append(f"flush {_speed(rates.flush_bytes_per_s)}, merge {_speed(rates.compaction_read_bytes_per_s)} in, ")
    disk.append(f"{_speed(rates.compaction_written_bytes_per_s)} out")
    first, *rest = [("calls", calls)] * bool(calls) + [("disk", disk)]
    first[1].append(f"  {over}", style="dim")
    return [first, *rest]


def _memory(memory: Memory, rates: Rates | None) -> Text:
    """Memtables and cache."""
    full = memory.memtable_bytes / memory.memtable_limit_bytes if memory.memtable_limit_bytes else 0.0
    text = Text(f"memtable {bar(min(full, 1.0), GAUGE_CELLS)} {min(full, 1.0):.0%} of {_round(memory.memtable_limit_bytes)}")
    if memory.immutable_memtables:
        text.append(f" +{memory.immutable_memtables} full of {memory.max_immutables}", style="yellow")
    if memory.cache_capacity_bytes:
        now = rates.cache_hit_ratio if rates is not None else None
        hits = now if now is not None else memory.cache_hit_ratio
        text.append(f"  cache {_round(memory.cache_bytes)} of {_round(memory.cache_capacity_bytes)}")
        if hits is not None:
            text.append(f", {hits:.1%} hits" + ("" if now is not None else " since opening"))
    else:
        text.append("  no cache")
    return text


def _waits(waits: Sequence[Stall], share: float | None, now: str, style: str) -> Text:
    """Waits of writes, slowed down or stopped."""
    text = Text()
    if share:
        text.append(f"{share:.0%} of the time", style=style)
        text.append("; ")
    told = ", ".join(f"{wait.reason} {wait.count:,} ({wait.seconds:.1f} s)" for wait in waits if wait.count)
    text.append(f"{told} since opening" if told else "none since opening")
    if now:
        text.append(f"; now: {now}", style=style)
    return text


def _levels(frame: Frame, width: int) -> Table:
    """The tree."""
    cells = max(6, min(32, width - FIXED_CELLS))
    speeds = frame.rates.level_bytes_per_s if frame.rates is not None else ()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("level", "runs", "tables", "entries", "bytes"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("fill", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("written" if speeds else "", justify="right", no_wrap=True)
    for row in frame.levels:
        colour = COLOURS[min(row.level, len(COLOURS) - 1)]
        speed = speeds[row.level] if row.level < len(speeds) else 0.0
        table.add_row(
            Text(str(row.level), style=colour),
            f"{row.runs} of {row.capacity_runs}" if row.capacity_runs is not None else str(row.runs),
            f"{row.tables:,}",
            _count(row.entries),
            human_bytes(row.bytes),
            Text(bar(row.fill, cells), style=colour),
            f"{row.fill:.0%}" if row.fill is not None else "-",
            _speed(speed) if speed else "",
        )
    return table


def _debt(frame: Frame) -> Text | None:
    """What the change of policy going on still costs; None: there is none."""
    transition = frame.transition
    if transition is None or transition.get("done"):
        return None
    paid, remaining, to = number(transition, "paid_bytes"), transition.get("remaining"), transition.get("to_policy")
    left = number(remaining, "bytes") if isinstance(remaining, Mapping) else 0.0
    steps = number(remaining, "steps") if isinstance(remaining, Mapping) else 0.0
    share = paid / (paid + left) if paid + left else 1.0
    text = Text(f"to {policy_line(to)}: " if isinstance(to, Mapping) else "", style="magenta")
    text.append(f"{bar(share, GAUGE_CELLS)} {share:.0%} paid, {human_bytes(paid)}; {human_bytes(left)} left in {steps:.0f} tasks")
    return text


def _event(event: Mapping[str, object], zone_s: int) -> Text:
    """One line of the event log."""
    at = clock_face(number(event, "at_s"), zone_s)
    kind = str(event.get("task", event.get("kind")))
    text = Text(f"{at} ", style="dim")
    text.append(f"{kind:<8}", style=_STYLES.get(kind, ""))
    text.append(f" {_told(event)}")
    return text


def _told(event: Mapping[str, object]) -> str:
    """The facts of an event."""
    size = {
        name: human_bytes(number(event, name)) for name in ("bytes", "read_bytes", "written_bytes", "debt_bytes", "paid_bytes")
    }
    match event.get("kind"):
        case "flush" | "load":
            return f"{size['bytes']}, {number(event, 'entries'):,.0f} entries"
        case "compaction":
            work = f"{size['read_bytes']} in, {size['written_bytes']} out; " if event.get("task") == "merge" else ""
            return f"to level {event.get('output_level')}: {work}{event.get('reason', '')}"
        case "switch":
            to = event.get("to")
            return f"to {policy_line(to) if isinstance(to, Mapping) else to}: debt {size['debt_bytes']}"
        case "switched":
            return f"{size['paid_bytes']} paid"
        case "slowdown" | "stall":
            return f"{number(event, 'seconds'):.2f} s: {event.get('why', '')}"
    facts = event.get("policy", event.get("changed"))  # of an opening, of new options
    told = facts if isinstance(facts, Mapping) else {}
    return policy_line(told) if "policy" in event else ", ".join(f"{name} = {value}" for name, value in told.items())


def _count(n: float | None) -> str:
    """``12``, ``3.4k``, ``1.2M``."""
    if n is None:
        return "-"
    for unit in ("", "k", "M"):
        if n < 1000 or (not unit and n < 10_000):
            return f"{n:,.0f}" if not unit and (n >= 10 or n == int(n)) else f"{n:.1f}{unit}"
        n /= 1000
    return f"{n:.1f}G"


def _round(size: int) -> str:
    """Bytes without a ``.0``."""
    return human_bytes(size).replace(".0 ", " ")


def _speed(bytes_per_s: float | None) -> str:
    """``1.2 MiB/s``."""
    return "-" if bytes_per_s is None else f"{human_bytes(bytes_per_s)}/s"


_STYLES = {
    "flush": "cyan",
    "load": "cyan",
    "merge": "bold blue",
    "move": "bold green",
    "drop": "bold red",
    "switch": "bold magenta",
    "switched": "bold magenta",
    "slowdown": "yellow",
    "stall": "bold red",
}
