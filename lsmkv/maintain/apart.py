"""Giving a merge to the store's helper process (:mod:`lsmkv.maintain.helper`), and taking in what comes back.

Beside a reader that never lets go of the interpreter lock a merge here waits five milliseconds for each piece of its work; there
it does not. Nothing depends on the process: whatever goes wrong with it (it cannot be started, dies, fails, hangs), its outputs
are withdrawn and the merge is done here, as without it. Files are created here, and named in an edit here, once they are synced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lsmkv.env.helper import HelperProcess
from lsmkv.env.posix import PosixFile, PosixFileSystem
from lsmkv.errors import ClosedError, LsmError
from lsmkv.live.core import Core
from lsmkv.live.tables import table_path
from lsmkv.maintain.build import withdraw
from lsmkv.maintain.helper import ALIVE, READY, TABLE, Done, Failed, Job
from lsmkv.version.shape import TableMeta

__all__ = ["merge_apart"]

LOOK_S = 0.05
"""How often a merge that is going on elsewhere is looked after: is the store closing?"""

START_S = 10.0
"""Seconds in which a process must be ready: a merge waits for it, and writers may wait for the merge."""

SILENCE_S = 30.0
"""Seconds in which a process that merges says something (it does so every two), or counts as stopped: less than what writers
wait for a merge before they get a BusyError (``Options.stall_timeout_s``), so that they get none on its account."""

PAUSE_S = 1.0
"""Most seconds from one look to the next that count: after more, this process did not run either."""


def merge_apart(core: Core, job: Job, merged: Sequence[TableMeta]) -> list[TableMeta] | None:
    """The outputs of a merge of ``merged`` that the helper process has done, open and not installed; None: it is to be done here.

    Leaves nothing behind when it raises or returns None. ClosedError when the store closes meanwhile. The inputs' finders count
    no longer: see :meth:`~lsmkv.live.tables.TableCache.stay`.

    I/O: creates the outputs; opens them.
    """
    if not _suitable(core, merged):
        return None
    helping = core.helping
    begun: list[int] = []
    starting = False
    try:
        taken = helping.take(core.clock.monotonic())
        if taken is None:
            return None
        process, starting = taken
        if starting:
            _await(core, process)
            starting = False
        process.channel.send(replace(job, finders=_seeds(core, merged)))
        answer = _answer(core, process, begun)
        if isinstance(answer, Failed):  # it may fail here as well, and say so
            process.memory.clear()
            helping.refused()
            withdraw(core, begun)
            return None
        tables = _take_in(core, process, answer, job.level, merged, begun)
        helping.worked(core.clock.monotonic())
    except (ClosedError, _HereError) as reason:
        helping.drop()
        withdraw(core, begun)
        if isinstance(reason, ClosedError):
            raise
        return None
    except Exception:  # noqa: BLE001 - whatever it is, the merge is done here, and what is wrong here is told then
        helping.failed(for_good=starting)
        withdraw(core, begun)
        return None
    except BaseException:
        helping.drop()
        withdraw(core, begun)
        raise
    core.work.merges_apart += 1
    return tables


class _HereError(Exception):
    """The merge is to be done here, through no fault of the process."""


def _suitable(core: Core, merged: Sequence[TableMeta]) -> bool:
    """Whether this merge is one for the helper process: a large one, of bare files, that no limit slows down on the way."""
    return (
        core.options.helper_process
        and core.options.background_bytes_per_s is None
        and not core.state.shape.ranges
        and isinstance(core.fs, PosixFileSystem)
        and core.fs.bare
        and core.helping.worth(sum(t.bytes for t in merged))
    )


def _seeds(core: Core, merged: Sequence[TableMeta]) -> tuple[int, int] | None:
    """With which seeds to make finders of the outputs; None: nobody would gain by them."""
    entries = sum(t.entries for t in merged)
    if not core.tables.wanted(entries):
        return None
    raw, keys = sum(t.raw_bytes for t in merged), sum(t.entries * len(t.smallest) for t in merged)
    return core.tables.finders.seeds(entries, max(raw - keys, 0), [t.number for t in merged])


def _await(core: Core, process: HelperProcess) -> None:
    """Wait until a process is ready. EOFError: it is not in time, or is none of ours. ClosedError: the store is closing."""
    if _said(core, process, START_S) != READY:
        raise EOFError


def _said(core: Core, process: HelperProcess, silence_s: float = SILENCE_S) -> object:
    """The next thing that the process says, signs of life apart.

    EOFError: it is gone, or was silent for too long. ClosedError: the store is closing. _HereError: it must not go on there.
    """
    silent_s, before_s = 0.0, core.clock.monotonic()
    while not core.stopping:
        if core.options.background_bytes_per_s is not None:  # since it began: it does not know of limits
            raise _HereError
        try:
            said = process.channel.receive(LOOK_S)
        except TimeoutError as error:
            now_s = core.clock.monotonic()
            silent_s += min(now_s - before_s, PAUSE_S)
            before_s = now_s
            if silent_s > silence_s:
                raise EOFError from error
            continue
        if said != ALIVE:
            return said
        silent_s, before_s = 0.0, core.clock.monotonic()
    raise ClosedError(core.path)


def _answer(core: Core, process: HelperProcess, begun: list[int]) -> object:
    """What the process says in the end, having got the outputs that it asked for.

    EOFError, ClosedError, _HereError as :func:`_said`; _HereError, too, if a file cannot be created.
    """
    while (said := _said(core, process)) == TABLE:
        number = next(core.numbers)
        begun.append(number)
        core.building.add(number)
        try:
            file = core.fs.open(table_path(core.path, number), "create")
        except OSError as error:
            raise _HereError from error
        try:
            assert isinstance(file, PosixFile)
            process.channel.send(number)
            process.channel.send_file(file.descriptor)
        finally:
            file.close()
    return said


def _take_in(
    core: Core, process: HelperProcess, done: object, level: int, merged: Sequence[TableMeta], begun: list[int]
) -> list[TableMeta]:
    """Open the outputs, with their finders, before anybody is shown them, and count what was done.

    LsmError: they are not what they should be, those in ``begun``.
    """
    if not isinstance(done, Done) or [table.number for table in done.tables] != begun:
        raise LsmError("the helper process answers something else than it was asked")
    core.tables.place([(level, 0, table) for table in done.tables])
    readers = {table.number: core.tables.get(table.number) for table in done.tables}
    for table in done.tables:
        if replace(table, shadowed=0) != readers[table.number].properties.meta:
            raise LsmError(f"{table_path(core.path, table.number)} is not the table that the helper process said it wrote")
    if done.finders:
        leaving = [t.number for t in merged]
        try:
            core.tables.finders.adopt([(readers[one.number], one) for one in done.finders], leaving, process.memory.read)
            process.memory.clear()
        except BaseException:
            core.tables.stay(leaving)
            raise
    core.ledger.level(level).merges.add(done.counts)
    core.ledger.level(level).opens.add(done.opens)
    return list(done.tables)
