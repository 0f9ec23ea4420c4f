"""The page: everything that was simulated is in it, nothing outside is needed, and it stays small."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

import lsmkv
from lsmkv import FIFO, LazyLeveling, Leveled, Tiered, Writes
from lsmkv.lab import Row, Switch
from lsmkv.lab.page import page
from lsmkv.lab.playback import LIMIT_BYTES, encode
from lsmkv.policy.base import Policy

LOAD = Writes(entries=30_000, memtable=300, overwrites=0.3, deletes=0.1)
POLICIES: list[Policy] = [Leveled(4), Leveled(3, partial="round_robin"), Tiered(4), LazyLeveling(4), FIFO(400_000)]


def encoded(rows: Sequence[Row]) -> str:
    return encode(rows, title="</script><b>", note="a load", policy={"name": "leveled"})


def decoded(document: dict[str, Any]) -> list[list[list[list[int]]]]:
    """As the player does: [id, bytes, entries, tables] of every run of every level of every frame."""
    known: dict[int, list[int]] = {}
    levels: list[list[list[int]]] = []
    frames = []
    for frame in document["frames"]:
        levels = list(levels)
        for number, runs in frame[7].items():
            levels += [[] for _ in range(int(number) + 1 - len(levels))]
            known.update((run[0], run) for run in runs if isinstance(run, list))
            levels[int(number)] = [run if isinstance(run, list) else known[run] for run in runs]
        frames.append(levels)
    return frames


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_the_player_sees_every_tree_as_it_was(policy: Policy) -> None:
    rows = lsmkv.simulate(policy, LOAD, switches=[Switch(20_000, Tiered(3))]).rows
    document = json.loads(encoded(rows))
    assert len(document["frames"]) == document["steps"] == len(rows)
    for row, levels in zip(rows, decoded(document), strict=True):
        shown = [[tuple(run[1:]) for run in level] for level in levels]
        while len(shown) > len(row.levels):
            assert shown.pop() == []
        assert shown == [list(level) for level in row.levels]
        ids = [run[0] for level in levels for run in level]
        assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_runs_that_are_left_alone_keep_their_identity(policy: Policy) -> None:
    rows = lsmkv.simulate(policy, LOAD).rows
    document = json.loads(encoded(rows))
    trees = decoded(document)
    for before, after, frame, row in zip(trees, trees[1:], document["frames"][1:], rows[1:], strict=False):
        then = {run[0]: run for level in before for run in level}
        now = {run[0]: run for level in after for run in level}
        taken = {one for one, _ in frame[8]}
        assert taken <= then.keys()
        for run in then.keys() - taken:
            if frame[9] is None or run != frame[9][1]:
                assert now[run] == then[run]
        if row.task == "move":
            assert frame[9][1] in now
        if frame[9] is not None:
            assert frame[9][1] in [run[0] for run in after[frame[9][0]]]


def test_a_page_needs_nothing_but_itself() -> None:
    text = page(encoded(lsmkv.simulate(LazyLeveling(4), LOAD).rows))
    assert re.search(r"https?:|//[a-z]|src=|href=|@import|url\(", re.sub(r"(?m)^\s*// .*$|; // .*$", "", text)) is None
    assert "default-src 'none'" in text
    assert "{{" not in text
    assert text.count("</script>") == 2
    assert "<b>" not in text
    data = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert json.loads(data.group(1))["title"] == "</script><b>"


def test_the_same_simulation_is_the_same_page() -> None:
    first, second = (page(encoded(lsmkv.simulate(Tiered(4), LOAD).rows)) for _ in range(2))
    assert first == second


def test_a_long_simulation_is_thinned_out_and_keeps_what_matters() -> None:
    load = Writes(entries=40_000, memtable=20)
    rows = lsmkv.simulate(Tiered(30), load, switches=[Switch(20_000, Leveled(4))]).rows
    limit = 150_000
    text = encode(rows, title="", note="", policy={"name": "tiered"}, limit_bytes=limit)
    document = json.loads(text)
    assert limit // 3 < len(text.encode()) <= limit
    assert len(document["frames"]) < document["steps"] == len(rows)
    steps = {frame[0] for frame in document["frames"]}
    assert {row.step for row in rows if row.kind == "switch"} <= steps
    assert {rows[0].step, rows[-1].step} <= steps
    for frame, levels in zip(document["frames"], decoded(document), strict=True):
        shown = [[tuple(run[1:]) for run in level] for level in levels]
        expected = [list(level) for level in rows[frame[0] - 1].levels]
        assert shown[: len(expected)] == expected


def test_a_page_stays_below_two_megabytes() -> None:
    assert len(page('{"title": ""}').encode()) + LIMIT_BYTES <= 2_000_000
