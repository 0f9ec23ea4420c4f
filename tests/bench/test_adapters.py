"""``python -m bench adapters``: absent engines are said to be, rows are those of every side, parts add up to one file."""

from __future__ import annotations

import random
from typing import ClassVar

import numpy as np
import pytest

from bench import __main__ as command
from bench.adapters.base import Engine
from bench.adapters.rows import ROWS, Size, target_key
from bench.adapters.suite import run_engine
from bench.harness import Effort
from bench.report import load
from bench.scratch import scratch_dir
from bench.session import Request, Session, progress_bar
from bench.targets import TARGETS

ONCE = Effort(1, least_rounds=1, warmups=0)
PAGE = 4096


class Files:
    """A file per page."""

    def __init__(self, engine, home, *, wrong=False, forgetful=False):
        self.engine, self.home, self.wrong, self.forgetful = engine, home, wrong, forgetful

    def put(self, keys, first):
        for i, key in enumerate(keys):
            (self.home / key.hex()).write_bytes(bytes(self.engine.memory[first + i]))
        return len(keys)

    def get(self, keys, first):
        for i, key in enumerate(keys):
            data = (self.home / key.hex()).read_bytes()
            self.engine.memory[self.engine.pages + first + i] = np.frombuffer(data, np.uint8) ^ self.wrong
        return len(keys)

    def lookup(self, keys):
        return sum((self.home / key.hex()).exists() for key in keys) - self.forgetful

    def sync(self):
        pass

    def close(self):
        pass


class Toy(Engine):
    name: ClassVar[str] = "toy"
    title = "Toy 1.0"

    def __init__(self, page_bytes, pages, **others):
        self.pages = pages
        self.memory = np.random.default_rng(1).integers(0, 256, (2 * pages, page_bytes), np.uint8)
        self.sides = {"lsmkv": lambda home, _: Files(self, home)}
        self.sides |= {name: lambda home, _, how=how: Files(self, home, **how) for name, how in others.items()}

    def clear(self):
        self.memory[self.pages :] = 0

    def same(self, first, n):
        at = self.pages + first
        return np.array_equal(self.memory[first : first + n], self.memory[at : at + n])


def measured(tmp_path, only=(), **others):
    with scratch_dir(str(tmp_path)) as scratch, progress_bar() as progress:
        session = Session(Request(quick=True, only=tuple(only), seed=1, scratch=scratch), random.Random(1), progress)
        run_engine(session, lambda *sizes: Toy(*sizes, **others), (Size(PAGE, 8, (1, 4), ONCE),))
    assert not list(tmp_path.iterdir())
    return session


def test_every_row_has_every_side_at_every_batch(tmp_path):
    session = measured(tmp_path, files={})
    assert len(session.rows) == len(ROWS) * 2
    assert {row.group for row in session.rows} == {"Toy 1.0"}
    for row in session.rows:
        assert row.samples["lsmkv"][0] > 0
        assert row.samples["files"][0] > 0


def test_a_side_that_reads_wrong_bytes_is_not_measured(tmp_path):
    session = measured(tmp_path, wrong={"wrong": True})
    assert "stored" in session.missing["wrong, 4 KiB"]
    assert [row.name for row in session.rows if "get" in row.name and "wrong" in row.samples] == []


def test_a_side_that_finds_less_is_no_faster(tmp_path):
    session = measured(tmp_path, forgets={"forgetful": True})
    (row,) = [row for row in session.rows if row.name == "lookup, 4 KiB, batches of 4"]
    assert "3 of 4 pages were found" in row.missing["forgets"]


def test_rows_nobody_asks_for_cost_nothing(tmp_path):
    found = measured(tmp_path, ["lookup", "nothing"]).rows
    assert [row.name for row in found] == ["lookup, 4 KiB, page by page", "lookup, 4 KiB, batches of 4"]
    assert not measured(tmp_path, ["128 KiB"]).rows


def test_parts_measured_one_after_the_other_are_one_result(tmp_path, monkeypatch, capsys):
    def part(session, engines, page_bytes):
        run_engine(session, Toy, (Size(PAGE, 8, (4,), ONCE),), page_bytes)

    monkeypatch.setattr(command, "run_adapters", part)
    file = tmp_path / "adapters-toy.json"
    for only in ("put", "lookup", "put"):
        assert command.main(["adapters", "--quick", "--json", str(file), "--only", only, "--path", str(tmp_path)]) == 0
    names = {row.name: len(row.samples) for row in load(file).rows}
    assert names == {f"{what}, 4 KiB, batches of 4": 1 for what in ("lookup", "put", "put + sync")}
    assert "Toy 1.0" in capsys.readouterr().out


@pytest.mark.parametrize("engine", ["sglang", "vllm", "lmcache"])
def test_an_engine_that_is_not_installed_is_said_to_be(engine, monkeypatch, capsys):
    monkeypatch.setattr("bench.adapters.suite.find_spec", lambda name: None)
    assert command.main(["adapters", "--quick", "--engine", engine]) == 0
    assert f"skipped, {engine}: not installed here" in capsys.readouterr().out


def test_targets_of_pages_are_about_batches_of_32():
    assert target_key("sglang", "cold get", 64 << 10, 32) == "sglang cold get small"
    assert target_key("sglang", "cold get", 1 << 20, 32) in TARGETS
    assert target_key("sglang", "cold get", 4 << 20, 32) not in TARGETS
    assert target_key("sglang", "put + sync", 1 << 20, 1) not in TARGETS
    assert target_key("vllm", "lookup", 64 << 10, 1) in TARGETS
