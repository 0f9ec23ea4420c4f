"""``lsmkv trace``: replay traces of requests against policies or a real store, and make such traces."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from lsmkv.cli.chosen import search_here
from lsmkv.cli.output import console, emit_json, guard
from lsmkv.env.rng import seeded
from lsmkv.lab.numbers import size_of
from lsmkv_tensor.cli.curve import draw, need_matplotlib
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.retention.budget import bytes_a_day
from lsmkv_tensor.retention.steering_settings import HIT_WORTH, StoreController
from lsmkv_tensor.trace.blocks import Counts
from lsmkv_tensor.trace.generate import Phase, generate
from lsmkv_tensor.trace.requests import Trace, parse_trace, trace_lines
from lsmkv_tensor.trace.rows import Row, as_csv
from lsmkv_tensor.trace.run import DEFAULT_ADMISSION, DEFAULT_EVICTION, blocks_of, replay
from lsmkv_tensor.trace.stored import KEY_BYTES, replay_store

__all__ = ["trace"]

BLOCK_TOKENS = 512


class Mode(Enum):
    """Modes of the controller."""

    ON = "on"
    ADVISE = "advise"


trace = typer.Typer(help="Replay traces of requests, and make them.", no_args_is_help=True)

File = Annotated[str, typer.Argument(metavar="FILE", help="A trace: JSON lines as Mooncake publishes them.")]
Capacity = Annotated[
    str,
    typer.Option(metavar="SHARE", help="Parts of the trace's distinct blocks, such as 10% or 1%,2%,5%; or numbers of blocks."),
]
Eviction = Annotated[str, typer.Option(metavar="POLICY", help="fifo, lru, countlru, mq or module:Class; parameters may follow.")]
AdmissionName = Annotated[str, typer.Option(metavar="POLICY", help="all, second, adaptive or module:Class.")]
UpstreamSize = Annotated[
    str,
    typer.Option("--upstream", metavar="SIZE", help="What the engine caches itself: 2% of the blocks, or bytes such as 64GiB."),
]
IndexOnly = Annotated[bool, typer.Option("--index-only", help="Blocks only, without a store: fast and exact.")]
Compare = Annotated[
    str | None, typer.Option(metavar="POLICIES", help="Several eviction policies, such as fifo,lru,mq, in block mode.")
]
PageBytes = Annotated[str, typer.Option(metavar="SIZES", help="Bytes of a page (several: one for each conversation, by chance).")]
StoreAt = Annotated[str | None, typer.Option("--store", metavar="PATH", help="Directory for the store, kept afterwards.")]
Png = Annotated[Path | None, typer.Option(metavar="FILE", help="Draw hit rate over capacity.")]
Csv = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows as a table.")]
Dwpd = Annotated[float | None, typer.Option(help="Write budget: times the capacity a day.")]
WritesPerDay = Annotated[str | None, typer.Option("--write-bytes-per-day", metavar="SIZE", help="Write budget in bytes a day.")]
Controller = Annotated[
    Mode | None,
    typer.Option(help="Have the controller choose between all and second (on), or only say what it would choose (advise)."),
]
HitWorth = Annotated[float, typer.Option(help="Bytes written that one delivered byte is worth to the controller.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]


@trace.command("replay")
def replay_command(
    file: File,
    capacity: Capacity = "10%",
    eviction: Eviction = DEFAULT_EVICTION,
    admission: AdmissionName = DEFAULT_ADMISSION,
    upstream: UpstreamSize = "0",
    index_only: IndexOnly = False,
    compare: Compare = None,
    page_bytes: PageBytes = "16KiB",
    store: StoreAt = None,
    png: Png = None,
    csv: Csv = None,
    dwpd: Dwpd = None,
    write_bytes_per_day: WritesPerDay = None,
    controller: Controller = None,
    hit_worth: HitWorth = HIT_WORTH,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Replay a trace against a real store with made-up pages, or with --index-only or --compare against policies alone."""
    with guard(as_json=as_json):
        search_here()
        if png is not None:
            need_matplotlib()
        read = _read(file)
        shares = [_share(text) for text in capacity.split(",")]
        sizes = [_page_size(text) for text in page_bytes.split(",")]
        steers = None if controller is None else StoreController(mode=controller.value, hit_worth=hit_worth)
        per_day = _per_day(dwpd, write_bytes_per_day)
        above = _upstream_blocks(upstream, read, sizes)
        rows: list[Row] = []
        policies = compare.split(",") if compare else [eviction]
        blocks_only = index_only or compare is not None
        with _bar(len(shares) * len(policies) * len(read.requests), shown=not as_json) as told:
            for share in shares:
                for policy in policies:
                    if blocks_only:
                        blocks = blocks_of(share, read)
                        budget = bytes_a_day(blocks, dwpd) if dwpd is not None else per_day and per_day * len(sizes) / sum(sizes)
                        rows += replay(
                            read,
                            capacity=share,
                            eviction=policy,
                            admission=admission,
                            upstream_blocks=above,
                            write_blocks_per_day=budget,
                            controller=steers,
                            progress=told,
                        )
                    else:
                        options = StoreOptions(
                            eviction=policy, admission=admission, write_bytes_per_day=per_day, controller=steers
                        )
                        rows.append(_stored(read, store, share, options, dwpd, sizes, above, seed, told))
        _show(rows, read, png, csv, as_json=as_json)


@trace.command("generate")
def generate_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write the trace.")],
    requests: Annotated[int, typer.Option(help="Requests of each phase.")] = 2000,
    sharing: Annotated[str, typer.Option(metavar="SHARES", help="Part of the conversations that share a system prompt.")] = "0.5",
    turns: Annotated[str, typer.Option(metavar="COUNTS", help="Turns of a conversation, on average.")] = "3",
    phases: Annotated[int, typer.Option(help="Phases, each with system prompts of its own.")] = 1,
    prompts: Annotated[int, typer.Option(help="System prompts of a phase.")] = 20,
    prompt_blocks: Annotated[int, typer.Option(help="Blocks of a system prompt.")] = 8,
    turn_blocks: Annotated[float, typer.Option(help="Blocks that a turn adds, on average.")] = 4.0,
    think_s: Annotated[float, typer.Option(help="Seconds between turns, on average.")] = 60.0,
    requests_per_s: Annotated[float, typer.Option(help="Requests a second.")] = 3.0,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Make a trace of conversations from a seed. --sharing and --turns may list a value for each phase: 0.2,0.8."""
    with guard(as_json=as_json):
        if phases < 1:
            raise InvalidArgumentError(f"--phases {phases}: must be at least 1")
        for option, text in (("--sharing", sharing), ("--turns", turns)):
            if len(text.split(",")) > phases:
                raise InvalidArgumentError(f"{option} {text!r}: names more values than there are phases (--phases {phases})")
        made = []
        for at in range(phases):
            phase = Phase(
                requests=requests,
                prompts=prompts,
                prompt_blocks=prompt_blocks,
                turn_blocks=turn_blocks,
                think_s=think_s,
                requests_per_s=requests_per_s,
            )
            made.append(replace(phase, sharing=_each("--sharing", sharing, at), turns=_each("--turns", turns, at)))
        found = generate(made, seeded(seed))
        Path(file).write_text("".join(line + "\n" for line in trace_lines(found)), encoding="utf-8")
        if as_json:
            emit_json({"file": file, **_about(found)})
        else:
            console().print(f"{file}: " + ", ".join(f"{name} {value:,}" for name, value in _about(found).items()))


def _each(option: str, text: str, at: int) -> float:
    """The value for one phase; the last one goes on."""
    parts = text.split(",")
    try:
        return float(parts[min(at, len(parts) - 1)])
    except ValueError as error:
        raise InvalidArgumentError(f"{option} {text!r}: must be numbers, separated by commas") from error


def _share(text: str) -> float:
    """``10%`` as 0.1, ``5000`` as itself."""
    try:
        found = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError as error:
        raise InvalidArgumentError(f"--capacity {text!r}: must be a part such as 10%, or a number of blocks") from error
    if not 0 < found < float("inf"):
        raise InvalidArgumentError(f"--capacity {text!r}: must be above 0")
    return found


def _upstream_blocks(text: str, read: Trace, sizes: list[int]) -> int:
    """What the engine caches, in blocks."""
    if text.strip().endswith("%"):
        return int(_share(text) * read.unique_blocks)
    return size_of("--upstream", text) * len(sizes) // sum(sizes)


def _read(file: str) -> Trace:
    """The trace in a file; InvalidArgumentError if it holds none. I/O: reads the file."""
    try:
        found = parse_trace(Path(file).read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{file} is no trace: it is no text in UTF-8 ({error})") from error
    if not found.references:
        raise InvalidArgumentError(f"{file} holds no request with blocks: there is nothing to replay")
    return found


def _page_size(text: str) -> int:
    """The bytes of a page."""
    found = size_of("--page-bytes", text)
    if found < KEY_BYTES:
        raise InvalidArgumentError(f"--page-bytes {text!r}: must be at least {KEY_BYTES}")
    return found


def _per_day(dwpd: float | None, text: str | None) -> float | None:
    """The bytes a day that are asked for; both options are checked."""
    if dwpd is not None and text is not None:
        raise InvalidArgumentError("--dwpd and --write-bytes-per-day are two words for one budget: give one")
    if dwpd is not None and not 0 < dwpd < float("inf"):
        raise InvalidArgumentError(f"--dwpd {dwpd}: must be above 0")
    found = None if text is None else size_of("--write-bytes-per-day", text)
    if found == 0:
        raise InvalidArgumentError(f"--write-bytes-per-day {text!r}: must be above 0")
    return found


def _stored(
    read: Trace,
    store: str | None,
    share: float,
    options: StoreOptions,
    dwpd: float | None,
    sizes: list[int],
    above: int,
    seed: int,
    told: _Told,
) -> Row:
    """One replay against a real store."""
    with ExitStack() as stack:
        where = store if store is not None else stack.enter_context(tempfile.TemporaryDirectory(prefix="lsmkv-replay-"))
        if share > 1:
            share = min(share / read.unique_blocks, 1.0)
        return replay_store(
            read,
            str(Path(where) / "store"),
            capacity=share,
            page_bytes=sizes,
            upstream_blocks=above,
            options=options,
            dwpd=dwpd,
            progress=told,
            seed=seed,
        )


class _Told:
    """Moves the bar now and then."""

    def __init__(self, progress: Progress | None, task: TaskID) -> None:
        self._progress, self._task, self._since = progress, task, 0

    def __call__(self, counts: Counts) -> None:
        """One request more."""
        self._since += 1
        if self._progress is not None and self._since >= 64:
            self._progress.update(self._task, advance=self._since, description=f"hit rate {counts.hit_rate:.3f}")
            self._since = 0


@contextmanager
def _bar(total: int, *, shown: bool) -> Iterator[_Told]:
    """A progress bar on standard error."""
    if not shown:
        yield _Told(None, TaskID(0))
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Told(progress, progress.add_task("replaying", total=total))


def _about(found: Trace) -> dict[str, float]:
    """A trace in numbers."""
    return {
        "requests": len(found.requests),
        "blocks": found.references,
        "distinct": found.unique_blocks,
        "ideal_hit_rate": round(found.ideal_hit_rate, 4),
    }


def _show(rows: list[Row], read: Trace, png: Path | None, csv: Path | None, *, as_json: bool) -> None:
    """The rows, and the files that were asked for."""
    if csv is not None:
        csv.write_text(as_csv(rows), encoding="utf-8")
    if png is not None:
        draw(rows, read.ideal_hit_rate, png)
    if as_json:
        emit_json({"trace": _about(read), "rows": [row.to_dict() for row in rows]})
        return
    out = console()
    out.print(", ".join(f"{name} {value:,}" for name, value in _about(read).items()))
    if rows[0].mode == "store":
        _show_stored(out, rows)
        return
    table = Table(box=None)
    for name in ("capacity", "eviction", "hit rate", "hits", "written", "declined", "evicted", "ghost hits"):
        table.add_column(name, justify="left" if name == "eviction" else "right", overflow="fold")
    for row in rows:
        counts = (row.hits, row.written, row.declined, row.evicted, row.ghost_hits)
        table.add_row(f"{row.capacity_share:.1%}", row.eviction, f"{row.hit_rate:.4f}", *(f"{n:,}" for n in counts))
    out.print(table)


def _show_stored(out: Console, rows: list[Row]) -> None:
    """What stores did: a column for each."""
    table = Table(box=None, show_header=False)
    lines: list[tuple[str, Callable[[Row], str]]] = [
        ("capacity", lambda r: f"{r.capacity_share:.1%}, {r.capacity >> 20:,} MiB of pages"),
        ("eviction", lambda r: r.eviction),
        ("admission", lambda r: r.admission),
        ("hit rate", lambda r: f"{r.hit_rate:.4f}, {r.hits:,} of {r.asked:,} pages"),
        ("written", lambda r: f"{r.written:,} pages, {r.written_bytes >> 20:,} MiB"),
        ("declined", lambda r: f"{r.declined:,} pages"),
        ("evicted", lambda r: f"{r.evicted:,} pages"),
        ("GC moved", lambda r: f"{r.moved_bytes >> 20:,} MiB, write amplification {r.gc_write_amplification:.2f}"),
        ("on disk", lambda r: f"{r.physical_bytes >> 20:,} MiB"),
        ("probe", lambda r: f"p50 {r.probe_p50_ms:.2f} ms, p99 {r.probe_p99_ms:.2f} ms"),
        ("get", lambda r: f"p50 {r.get_p50_ms:.2f} ms, p99 {r.get_p99_ms:.2f} ms"),
        ("put", lambda r: f"p50 {r.put_p50_ms:.2f} ms, p99 {r.put_p99_ms:.2f} ms"),
        ("time", lambda r: f"{r.seconds:.1f} s"),
    ]
    for name, cell in lines:
        table.add_row(name, *(cell(row) for row in rows))
    out.print(table)
