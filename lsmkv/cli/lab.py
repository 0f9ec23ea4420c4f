"""``lsmkv simulate``: a policy at work on a simulated tree, in the terminal, as rows and as a page that plays it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from lsmkv.base.events import read_events
from lsmkv.cli.chosen import chosen_policy
from lsmkv.cli.lab_view import LINES, Story
from lsmkv.cli.output import INTERRUPTED, console, emit_json, guard
from lsmkv.cli.tools import Tools
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.events import rows_of_events
from lsmkv.lab.numbers import count_of, size_of, value_of
from lsmkv.lab.page import page
from lsmkv.lab.playback import encode
from lsmkv.lab.rows import Row, Simulation
from lsmkv.lab.simulator import Simulator, Switch
from lsmkv.lab.writes import Writes
from lsmkv.observe.picture import policy_line
from lsmkv.policy.base import Policy
from lsmkv.policy.registry import describe_policy

__all__ = ["register"]

PolicyName = Annotated[
    str,
    typer.Option(
        metavar="POLICY", help="leveled, tiered, lazy, fluid, fifo or module:Class; parameters may follow: fluid,K=3/2,Z=1."
    ),
]
Ratio = Annotated[int | None, typer.Option("--size-ratio", help="How much larger each level is than the one above (2 to 64).")]
RunsInner = Annotated[
    str | None, typer.Option("--K", metavar="RUNS", help="fluid: most runs of an inner level; 3/2/1: level by level.")
]
RunsLast = Annotated[int | None, typer.Option("--Z", help="fluid: most runs of the last level.")]
Partial = Annotated[
    str | None,
    typer.Option(
        metavar="RULE",
        help="Pass on one table at a time, picked by: least_overlap, oldest, round_robin or most_tombstones.",
    ),
]
Capacity = Annotated[str | None, typer.Option(metavar="SIZE", help="fifo: bytes the tree may hold, such as 64MiB.")]
Ttl = Annotated[float | None, typer.Option("--ttl-s", metavar="SECONDS", help="fifo: how long data lives.")]
EntryCount = Annotated[str, typer.Option(metavar="COUNT", help="Writes to simulate, such as 1e7, 500k or 2.5M.")]
MemtableCount = Annotated[str, typer.Option(metavar="COUNT", help="Distinct keys at which a memtable is flushed.")]
Share = Annotated[float, typer.Option(metavar="SHARE", help="Share of the writes that overwrite a key written before (0 to 1).")]
DeleteShare = Annotated[float, typer.Option(metavar="SHARE", help="Share of the writes that delete one.")]
Sequential = Annotated[bool, typer.Option("--sequential", help="New keys arrive in key order instead of at random.")]
KeyBytes = Annotated[int, typer.Option(help="Bytes of a key.")]
ValueBytes = Annotated[int, typer.Option(help="Bytes of a value.")]
Level0 = Annotated[int, typer.Option("--level0-runs", help="Flushed runs that may stay at level 0.")]
TableSize = Annotated[
    str | None,
    typer.Option("--table-bytes", metavar="SIZE", help="Size of a table.  [default: one memtable, more in a long simulation]"),
]
FilterBits = Annotated[
    float, typer.Option("--filter-bits-per-key", metavar="BITS", help="Filter memory behind the predicted lookups.")
]
Bound = Annotated[float | None, typer.Option("--tombstone-age-s", metavar="SECONDS", help="How long a tombstone may live.")]
Speed = Annotated[
    float, typer.Option("--writes-per-s", metavar="NUMBER", help="Speed of the simulated clock that ages are measured by.")
]
Switches = Annotated[
    list[str] | None,
    typer.Option(
        "--switch-at",
        metavar="WRITES:POLICY",
        help="From so many writes on another policy: 5e6:tiered,size_ratio=6. Add :lazy to pay as levels fill. Repeatable.",
    ),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same writes.")]
Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page that plays it back (one file, no network).")]
Events = Annotated[
    str | None, typer.Option(metavar="PATH", help="Play the event log of the store at PATH instead of simulating.")
]
All = Annotated[bool, typer.Option("--all", help="Print every step, flushes too.")]
Trees = Annotated[bool, typer.Option("--trees", help="Draw the whole tree after every step printed.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the end.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]

SHOWING = frozenset({"events", "html", "show_all", "trees", "quiet", "as_json"})
"""Options that say what is shown, not what is simulated."""


def register(tools: Tools) -> None:
    """Add the laboratory's command."""
    command: Callable[..., None] = simulate
    tools.app.command()(command)


def simulate(
    ctx: typer.Context,
    policy: PolicyName = "leveled",
    size_ratio: Ratio = None,
    k: RunsInner = None,
    z: RunsLast = None,
    partial: Partial = None,
    capacity: Capacity = None,
    ttl_s: Ttl = None,
    entries: EntryCount = "1e6",
    memtable: MemtableCount = "1e4",
    overwrites: Share = 0.0,
    deletes: DeleteShare = 0.0,
    sequential: Sequential = False,
    key_bytes: KeyBytes = 16,
    value_bytes: ValueBytes = 112,
    level0_runs: Level0 = 1,
    table_bytes: TableSize = None,
    filter_bits_per_key: FilterBits = 10.0,
    tombstone_age_s: Bound = None,
    writes_per_s: Speed = 10_000.0,
    switch_at: Switches = None,
    seed: Seed = 0,
    html: Html = None,
    events: Events = None,
    show_all: All = False,
    trees: Trees = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a policy on a simulated tree, without I/O: the tree after each step, the tasks, and what they cost."""
    with guard(as_json=as_json):
        telling = _Telling(show_all, trees, quiet, as_json, html)
        if events is not None:
            _refuse_idle(ctx)
            _replay(ctx.obj, events, telling)
            return
        given = {"size_ratio": size_ratio, "K": value_of(k.replace(",", "/")) if k else None, "Z": z, "partial": partial}
        given |= {"capacity_bytes": size_of("--capacity", capacity) if capacity else None, "ttl_s": ttl_s}
        load = Writes(
            entries=count_of("--entries", entries),
            memtable=count_of("--memtable", memtable),
            overwrites=overwrites,
            deletes=deletes,
            order="sequential" if sequential else "random",
            key_bytes=key_bytes,
            value_bytes=value_bytes,
            writes_per_s=writes_per_s,
            seed=seed,
        )
        chosen = chosen_policy(policy, **given)
        simulator = Simulator(
            chosen,
            load,
            level0_runs=level0_runs,
            table_bytes=size_of("--table-bytes", table_bytes) if table_bytes else None,
            filter_bits_per_key=filter_bits_per_key,
            tombstone_age_s=tombstone_age_s,
            switches=[_switch(text) for text in switch_at or ()],
        )
        _run(simulator, load, chosen, telling)


class _Telling:
    """What to show and where."""

    def __init__(self, show_all: bool, trees: bool, quiet: bool, as_json: bool, html: Path | None) -> None:
        self.all, self.trees, self.quiet, self.json, self.html = show_all, trees, quiet, as_json, html
        self.out = console()
        if quiet and (show_all or trees):
            msg = f"--quiet and {'--all' if show_all else '--trees'} contradict each other"
            raise InvalidArgumentError(msg)
        if html is not None and (html.is_dir() or not html.absolute().parent.is_dir()):
            msg = f"--html {html}: " + ("is a directory" if html.is_dir() else f"there is no directory {html.parent}")
            raise InvalidArgumentError(msg)

    def story(self, smallest: int, largest: int, tasks: float) -> Story:
        """A teller for about so many tasks."""
        every = 1 if self.all else max(1, round(tasks / LINES))
        return Story(self.out, smallest=smallest, largest=largest, every=every, flushes=self.all, trees=self.trees)

    def write_page(self, document: str) -> None:
        """The page, if it is wanted."""
        if self.html is None:
            return
        text = page(document)
        self.html.write_text(text, encoding="utf-8")
        if not self.json:
            self.out.print(f"  {self.html}: {len(text.encode()):,} bytes, open it in a browser", highlight=False, markup=False)


def _run(simulator: Simulator, load: Writes, policy: Policy, telling: _Telling) -> None:
    """Simulate, tell, write the page; Ctrl-C ends it early with what there is."""
    lines = not (telling.quiet or telling.json)
    flushes = load.entries / load.memtable
    story = telling.story(load.memtable, load.entries, flushes / (simulator.tree.shape.level0_runs + 1))
    if lines:
        telling.out.print(f"{policy_line(describe_policy(policy))}: {_words(load)}", highlight=False, markup=False)
        story.begin()
    interrupted = False
    with _progress(telling) as advance:
        try:
            for row in simulator.steps():
                if lines:
                    story.tell(row)
                advance(simulator.progress)
        except KeyboardInterrupt:
            interrupted = True
    done = simulator.result()
    if telling.json:
        emit_json(_document(done))
    else:
        story.end(done)
    if done.rows:
        note = _words(load) + ("" if done.complete else f", interrupted after {simulator.progress:.0%} of them")
        telling.write_page(encode(done.rows, title=policy_line(done.policy), note=note, policy=done.policy))
    if interrupted:
        raise typer.Exit(INTERRUPTED)


@contextmanager
def _progress(telling: _Telling) -> Iterator[Callable[[float], None]]:
    """A bar on whatever terminal there is; it goes when the work is done."""
    out = telling.out if telling.out.is_terminal and not telling.json else Console(stderr=True)
    columns = (TextColumn("simulating"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _refuse_idle(ctx: typer.Context) -> None:
    """Refuse options that say how to simulate where an event log is played: they would do nothing."""
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(str(parameter.name))
        if parameter.name not in SHOWING and source is not None and source.name == "COMMANDLINE":
            msg = f"--events plays what a store did: {parameter.opts[0]} would do nothing there"
            raise InvalidArgumentError(msg)


def _replay(tools: Tools, path: str, telling: _Telling) -> None:
    """Tell and play the event log of a live store."""
    rows = list(rows_of_events(read_events(tools.fs, tools.store_kind(path).engine_path(path))))
    if not rows:
        msg = f"{path} has no event log (Options(event_log=True) keeps one)"
        raise InvalidArgumentError(msg)
    if telling.json:
        emit_json({"path": path, "rows": [_full(row) for row in rows]})
    else:
        flushed = [row.written_entries for row in rows if row.kind == "flush" and row.written_entries]
        story = telling.story(min(flushed, default=1), max(row.entries for row in rows) or 1, len(rows))
        if not telling.quiet:
            story.begin()
            for row in rows:
                story.tell(row)
        story.tree(rows[-1])
    policy = next((row.policy for row in rows if row.policy), {"name": "unknown"})
    telling.write_page(encode(rows, title=path, note="event log of a live store", policy=policy, live=True))


def _switch(text: str) -> Switch:
    """``5e6:tiered,size_ratio=6[:lazy]``."""
    writes, _, rest = text.partition(":")
    pace: Literal["greedy", "lazy"] = "greedy"
    if rest.endswith((":lazy", ":greedy")):
        rest, _, last = rest.rpartition(":")
        pace = "lazy" if last == "lazy" else "greedy"
    if not rest:
        msg = f"--switch-at {text!r}: should read WRITES:POLICY, such as 5e6:tiered,size_ratio=6"
        raise InvalidArgumentError(msg)
    return Switch(count_of("--switch-at", writes), chosen_policy(rest), pace)


def _words(load: Writes) -> str:
    """The load in words."""
    more = [f"{share:.0%} {name}" for name, share in (("overwrites", load.overwrites), ("deletes", load.deletes)) if share]
    more += ["keys in order"] if load.order == "sequential" else []
    return ", ".join([f"{load.entries:,} writes, memtables of {load.memtable:,}", *more])


def _full(row: Row) -> dict[str, object]:
    """A row with its tree."""
    inputs = [one._asdict() for one in row.inputs]
    return row.to_dict() | {"inputs": inputs, "levels": [[run._asdict() for run in level] for level in row.levels]}


def _document(done: Simulation) -> dict[str, object]:
    """A simulation as JSON."""
    head: dict[str, object] = {"policy": done.policy, "workload": done.load.to_dict(), "summary": done.summary()}
    return head | {"rows": [_full(row) for row in done.rows]}
