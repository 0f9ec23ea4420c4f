"""Changing the options of an open store: checked as a whole, then in force everywhere at once.

All parts ask ``core.options`` whenever they need one, so that one assignment is the change. What has to be done beside it is
here: parts that hold a size of their own are told, and what was not promised so far begins to be kept.

No lock of the write path is taken: more room may be just what a stalled writer, who holds it, is waiting for. A merge in flight
finishes with what it began with, except that each of its tables takes the compression of the moment it is begun.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass, replace

from lsmkv.cache.blockcache import BlockCache
from lsmkv.env.rng import seeded
from lsmkv.live.core import Core
from lsmkv.options import Options, changed_options
from lsmkv.write.commit import Committer

__all__ = ["change", "change_if"]


def change(core: Core, committer: Committer | None, changes: Mapping[str, object]) -> Options:
    """The options in force after ``changes``; InvalidArgumentError, and nothing has changed, if one of them cannot be."""
    with core.install_lock:
        before, options = core.options, _changed(core, changes)
    if committer is not None:
        committer.options_changed(before)
    _tell(core, changes)
    return options


def change_if(core: Core, holds: Callable[[Options], bool], changes: Mapping[str, object]) -> bool:
    """:func:`change` if the options in force are as the caller thinks, nobody changing them in between; whether it was done."""
    with core.install_lock:
        if not holds(core.options):
            return False
        _changed(core, changes)
    _tell(core, changes)
    return True


def _changed(core: Core, changes: Mapping[str, object]) -> Options:
    """Put the changed options in force (install lock held)."""
    before = core.options
    options = changed_options(before, changes)
    core.options = options
    _shape(core, options)
    _cache(core, before, options)
    core.tables.directory.bound(options.hash_column_bytes)
    core.tables.finders.bound()
    if core.tables.kept.bound():
        _view_again(core)
    if options.max_open_tables != before.max_open_tables:
        core.tables.bound(options.max_open_tables)
    return options


def _tell(core: Core, changes: Mapping[str, object]) -> None:
    """An event says what was changed."""
    if changes:
        core.note("options", {"changed": {name: _plain(value) for name, value in changes.items()}})


def _plain(value: object) -> object:
    """A value as an event tells it."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _shape(core: Core, options: Options) -> None:
    """The tree that the manifest's state carries knows how many runs may stay at level 0 (install lock held)."""
    core.state = replace(core.state, shape=replace(core.state.shape, level0_runs=options.level0_runs))


def _cache(core: Core, before: Options, options: Options) -> None:
    """Resize the block cache; begin with one, or do without (install lock held)."""
    size = options.block_cache_bytes
    if size == before.block_cache_bytes:
        return
    if core.cache is not None and size:
        core.cache.resize(size)
        return
    core.cache = BlockCache(size, seeded().getrandbits(64)) if size else None
    core.tables.use(core.cache)
    _view_again(core)  # a view keeps readers at hand: these have the old cache


def _view_again(core: Core) -> None:
    """Have readers take the same tables, and what is kept for them, anew (install lock held)."""
    with core.box.lock:
        now = core.box.current
        if now is not None:
            core.box.swap(now._replace(view=core.view(core.state.shape)))
