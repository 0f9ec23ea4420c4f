"""From a live store's event log to the rows that a simulation makes, so that one player shows both.

An event carries the whole tree after it, so a log whose beginning was rotated away can be played from any line on. What a
log does not know (who is alive, hence the space amplification) stays None.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.rows import Kind, Levels, Row, RunSize, TaskInput
from lsmkv.observe.picture import human_bytes, policy_line

__all__ = ["rows_of_events"]


def rows_of_events(events: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """One row per event. Raises InvalidArgumentError for events that are none of ours, naming the line."""
    flushed_bytes = merged_bytes = flushed_entries = merged_entries = step = 0
    for event in events:
        if event.get("kind") not in get_args(Kind):
            continue  # of a later version
        step += 1
        try:
            if event["kind"] == "flush":
                flushed_bytes += event["bytes"]
                flushed_entries += event["entries"]
            merged_bytes += event.get("written_bytes", 0)
            merged_entries += event.get("written_entries", 0)
            levels = _levels(event["levels"])
            runs = [run for level in levels for run in level]
            yield Row(
                step=step,
                at_s=float(event["at_s"]),
                kind=event["kind"],
                reason=_reason(event),
                writes=flushed_entries,
                **_task(event),
                runs=len(runs),
                depth=max((number + 1 for number, level in enumerate(levels) if level), default=0),
                entries=sum(run.entries for run in runs),
                bytes=sum(run.bytes for run in runs),
                tombstones=None,
                live_entries=None,
                write_amplification=(flushed_bytes + merged_bytes) / flushed_bytes if flushed_bytes else 1.0,
                update_copies=(flushed_entries + merged_entries) / flushed_entries if flushed_entries else 1.0,
                space_amplification=None,
                zero_lookup_blocks=None,
                buffer_entries=int(event.get("buffer_entries", 0)),
                levels=levels,
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f"event {step} of the log does not read as one ({error!r}): {str(event)[:120]}"
            raise InvalidArgumentError(msg) from error


def _levels(recorded: Sequence[Sequence[Sequence[int]]]) -> Levels:
    """The sizes of all runs."""
    return tuple(tuple(RunSize(*map(int, run)) for run in level) for level in recorded)


def _task(event: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a row that a flush, a compaction or a switch fills."""
    match event["kind"]:
        case "flush":
            known: dict[str, Any] = {"written_bytes": event["bytes"], "written_entries": event["entries"], "output_position": 0}
        case "compaction":
            names = ("task", "output_level", "joins", "output_position", "read_bytes", "read_entries", "written_bytes")
            known = {name: event[name] for name in (*names, "written_entries", "debt_bytes")}
            known["inputs"] = tuple(TaskInput(*map(int, one)) for one in event["inputs"])
        case "switch" | "switched":
            known = {"policy": dict(event["to"])}
        case "open":
            known = {"policy": dict(event["policy"])}
        case _:
            known = {}
    return known


def _reason(event: Mapping[str, Any]) -> str:
    """The event as a sentence."""
    match event["kind"]:
        case "flush":
            text = f"a full memtable is flushed: {event['entries']:,} entries, {human_bytes(event['bytes'])}"
        case "load":
            text = f"sorted data is loaded into level {event['level']}: {event['entries']:,} entries"
        case "compaction":
            text = str(event["reason"])
        case "switch":
            debt = f"debt {human_bytes(event['debt_bytes'])} in {event['debt_steps']} steps"
            text = f"{event['pace']} switch to {policy_line(event['to'])}: {debt}"
        case "switched":
            text = (
                f"the switch is done: {human_bytes(event['paid_bytes'])} paid, {human_bytes(event['predicted_bytes'])} predicted"
            )
        case "slowdown":
            text = f"writes were slowed down for {event['lasted_s']:.2f} s, {event['waits']} waits: {event['why']}"
        case "options":
            text = "options change: " + ", ".join(f"{name} = {value}" for name, value in event["changed"].items())
        case "stall":
            text = f"writes stalled for {event['seconds']:.2f} s: {event['why']}"
        case "open":
            text = f"the store is opened with {policy_line(event['policy'])}"
        case _:
            text = "the store is closed"
    return text
