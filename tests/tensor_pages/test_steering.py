"""The controller in a real store: what it changes, what advice leaves alone, what the journal and the command say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from lsmkv.cli.app import build
from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv_tensor import PageStore, StoreController, StoreOptions
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.retention.steering import Steering
from lsmkv_tensor.retention.steering_moves import RUNGS
from lsmkv_tensor.retention.victims import MOVE_SHARE

SIZE = 4000
QUICK = {"window": 1 / 16, "patience": 0.1}


def turn(world, store, rounds: int, first: int = 0) -> None:
    """Pages that nobody asks for again, and beside them a few that somebody does."""
    ns = store.namespace({"m": 1}, SIZE)
    for i in range(first, first + rounds):
        world.put(ns, range(100 + 5 * i, 105 + 5 * i))
        if i % 4 == 0:
            world.check(ns, range(3))
            world.put(ns, range(3))
        while store.step():
            pass


COUNTED = """pages live_bytes segments hits misses put_pages put_bytes written_bytes present_pages declined_pages refused_pages
evicted_pages recycled_segments gc_moved_bytes gc_read_bytes gc_dropped_pages read_bytes"""


def told(store) -> tuple[object, ...]:
    """What must be the same, whatever the controller thinks."""
    stats = store.stats()
    return tuple(getattr(stats, name) for name in COUNTED.split())


def test_it_stops_storing_what_nobody_asks_for_again(world):
    store = world.open(controller=StoreController(**QUICK))
    turn(world, store, 80)
    stats = store.stats()
    assert stats.controller.admission == stats.controller.advised_admission == "second"
    assert stats.controller.decisions >= 1
    assert stats.controller.tried["all"].written_bytes > 3 * stats.controller.tried["second"].written_bytes
    assert stats.refused_pages > 100
    before = stats.put_pages
    ns = store.namespace({"m": 1}, SIZE)
    assert world.put(ns, [90_000]) == [False]
    assert world.put(ns, [90_000]) == [True], "it knows who was seen before"
    assert store.stats().put_pages == before + 1


@pytest.mark.parametrize("admission", ["all", "second", "adaptive"])
def test_off_and_advice_leave_the_store_as_it_is(admission):
    states = []
    for controller in (None, StoreController(mode="off"), StoreController(mode="advise", **QUICK)):
        from tests.tensor_pages.conftest import World  # noqa: PLC0415 - three worlds, not the one of the fixture

        world = World()
        store = world.open(admission=admission, controller=controller)
        turn(world, store, 70)
        stats = store.stats().controller
        assert (stats is None) == (controller is None or controller.mode == "off")
        if stats is not None:
            assert stats.admission == admission
            assert stats.advised_admission == "second"
            assert stats.windows > 5
        ns = store.namespace({"m": 1}, SIZE)
        states.append((told(store), world.check(ns, range(500))))
        store.close()
        states[-1] += (sorted(name for name in world.fs.listdir("/store/vlog")),)
    assert states[0] == states[1] == states[2]


def test_the_setting_and_the_numbers_of_decisions_survive_what_they_should(world):
    store = world.open(controller=StoreController(**QUICK))
    turn(world, store, 80)
    store.sync()
    assert store.stats().controller.advised_admission == "second"
    store = world.reopen(controller=StoreController(**QUICK))
    assert store.stats().controller.admission == "all", "a setting lives as long as the store is open"
    turn(world, store, 80, first=200)
    store.close()
    world.store = None
    lines = [line for line in journal(world) if line["kind"] != "outcome"]
    assert [line["decision"] for line in lines] == list(range(1, len(lines) + 1))
    assert [line["to"] for line in lines if line["kind"] == "admission"] == ["second", "second"]


def test_moves_that_save_no_hits_become_few(world):
    store = world.open(controller=StoreController(hit_worth=0.5, window=1 / 16, patience=0.05), eviction="countlru")
    assert store._collector.move_share == MOVE_SHARE
    ns = store.namespace({"m": 1}, SIZE)
    for i in range(120):
        ids = range(5 * i, 5 * i + 5)
        world.put(ns, ids)
        for _ in range(8 if i % 2 else 0):  # looks worth keeping, and is never used again
            world.put(ns, ids)
            store.step()
        while store.step():
            pass
    stats = store.stats()
    assert stats.gc_moved_bytes > 0
    assert stats.controller.moves == stats.controller.advised_moves == "little"
    collector = store._collector
    assert (collector.move_share, collector.live_limit, collector.cheap) == RUNGS["little"]


@pytest.mark.parametrize("rung", ["much", "little"])
def test_no_victim_is_more_alive_than_its_rung_allows(world, rung):
    """With credit saved up, a segment that was 0.7 alive could be moved though little was to be moved."""
    store = world.open(eviction="countlru")
    store._collector.bound_moves(*RUNGS[rung])
    ns = store.namespace({"m": 1}, SIZE)
    most = 0.0
    for i in range(150):
        ids = range(5 * i, 5 * i + 5)
        before = store.stats()
        world.put(ns, ids)
        for _ in range(8 if i % 2 else 0):
            world.put(ns, ids)
        after = store.stats()
        freed, moved = (getattr(after, name) - getattr(before, name) for name in ("recycled_segments", "gc_moved_bytes"))
        if freed:
            most = max(most, moved / freed / 65536)
    assert store.stats().recycled_segments > 20
    limit = min(RUNGS[rung].live_limit, 0.7)
    assert most <= limit
    assert most > 0.2 or rung == "little", "the limit is what makes the difference"


def journal(world) -> list[dict[str, object]]:
    """The lines of the journal."""
    file = world.fs.open("/store/index/CONTROLLER.jsonl")
    return [json.loads(line) for line in file.pread(file.size(), 0).splitlines()]


def test_a_decision_is_on_record_with_its_outcome(world):
    store = world.open(controller=StoreController(**QUICK))
    turn(world, store, 200)
    lines = [line for line in journal(world) if line["kind"] != "moves"]
    assert [line["kind"] for line in lines] == ["admission", "outcome"]
    made, outcome = lines
    assert (made["from"], made["to"], made["mode"]) == ("all", "second", "on")
    assert made["ahead_bytes"] >= 0.1 * 5 * 65536
    assert outcome["decision"] == made["decision"]
    assert outcome["asked_bytes"] > outcome["gained_bytes"] > 0
    assert outcome["written_bytes"] < 0.2 * outcome["asked_bytes"]


def test_a_write_budget_still_binds(world):
    store = world.open(controller=StoreController(), write_bytes_per_day=24 * 40_000)
    ns = store.namespace({"m": 1}, SIZE)
    flags = [flag for i in range(0, 60, 5) for flag in world.put(ns, range(i, i + 5))]
    assert 0 < sum(flags) < 15


def test_what_is_no_controller_is_refused(world):
    with pytest.raises(InvalidArgumentError, match=r"StoreOptions\.controller"):
        world.open(controller="on")
    world.store = None


def test_the_command_shows_the_journal_of_a_page_store(tmp_path, world):
    options = StoreOptions(
        capacity_bytes=(1 << 20) + 8192 + 6 * 65536,
        segment_bytes=65536,
        index_bytes=1 << 20,
        rng=seeded(1),
        scheduler=ManualScheduler(),
        controller=StoreController(mode="advise", **QUICK),
    )
    path = str(tmp_path / "store")
    with PageStore.open(path, options=options) as store:
        turn(world, store, 70)
    shown = CliRunner(env={"COLUMNS": "140"}).invoke(build(), ["controller", "log", path])
    assert shown.exit_code == 0, shown.output
    assert "admission: all -> second" in shown.stdout
    assert "advised only" in shown.stdout
    result = CliRunner().invoke(build(), ["controller", "log", path, "--json"])
    (one,) = (line for line in json.loads(result.stdout)["decisions"] if line["kind"] == "admission")
    assert (one["from"], one["to"], one["outcome"]) == ("all", "second", None)


def test_a_policy_that_fails_in_the_miniatures_stops_the_controller_and_no_put():
    """Its error went through the put, under the commit lock."""

    def broken(_capacity):
        raise RuntimeError("no room for this policy")

    steering = Steering(StoreController(mode="on"), "all", 1 << 20, broken)
    steering.note(np.zeros(1, np.uint64), np.array([4096]))
    assert not steering.active
    assert "no room for this policy" in steering.stats().idle
    steering.note(np.zeros(1, np.uint64), np.array([4096]))
