"""``lsmkv set-policy`` changes the policy of a store and says what it costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lsmkv
from lsmkv.maintain.scheduler import ManualScheduler

Cli = Callable[..., Any]


@pytest.fixture
def tiered(tmp_path: Path) -> Path:
    """A tiered tree with several runs a level."""
    options = lsmkv.Options(policy=lsmkv.Tiered(size_ratio=5), level0_runs=1, memtable_bytes=1 << 20, scheduler=ManualScheduler())
    with lsmkv.open(str(tmp_path / "store"), options) as db:
        for n in range(44):
            db.put_many((b"%06d" % (i * 44 + n), b"v" * 20) for i in range(50))
            db.flush()
            db.settle()
    return tmp_path / "store"


def test_the_change_is_recorded_and_its_cost_told(cli: Cli, tiered: Path) -> None:
    told = cli("set-policy", tiered, "leveled,size_ratio=5", "--json").json
    assert told["from_policy"]["name"] == "tiered"
    assert told["to_policy"]["name"] == "leveled"
    assert told["predicted"]["steps"] == told["remaining"]["steps"] > 1
    assert told["paid_bytes"] == 0
    assert cli("stats", tiered, "--json").json["policy"]["name"] == "leveled"
    assert cli("stats", tiered, "--json").json["transition"]["predicted"] == told["predicted"]


def test_settling_pays_what_was_predicted(cli: Cli, tiered: Path) -> None:
    told = cli("set-policy", tiered, "leveled,size_ratio=5", "--settle", "--json").json
    assert told["done"]
    assert told["paid_steps"] == told["predicted"]["steps"]
    assert told["paid_bytes"] == pytest.approx(told["predicted"]["bytes"], rel=0.02)
    shown = cli("set-policy", tiered, "tiered,size_ratio=5", "--pace", "lazy")
    assert "from leveled (size_ratio 5) to tiered (size_ratio 5), lazy" in shown.out
    assert "(done)" in shown.out


def test_what_cannot_be_is_refused(cli: Cli, tiered: Path, tmp_path: Path) -> None:
    for arguments in [(tiered, "unheard"), (tiered, "tiered,size_ratio=1"), (tmp_path / "nowhere", "leveled")]:
        outcome = cli("set-policy", *arguments)
        assert outcome.code == 2
        assert outcome.err.startswith("lsmkv: ")
    assert cli("stats", tiered, "--json").json["policy"]["name"] == "tiered"


OWN = """
from dataclasses import dataclass
import lsmkv

@dataclass(frozen=True)
class Mine:
    runs: int = 4

    def pick(self, shape):
        return lsmkv.Tiered(size_ratio=self.runs).pick(shape)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a policy of one's own."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "own_policy.py").write_text(OWN)
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.delitem(sys.modules, "own_policy", raising=False)
    return here


def test_a_policy_of_the_current_directory_is_found(cli: Cli, tiered: Path, own: Path) -> None:
    """set-policy could not import what simulate could."""
    assert own.is_dir()
    told = cli("set-policy", tiered, "own_policy:Mine,runs=3", "--settle", "--json").json
    assert told["to_policy"] == {"name": "own_policy:Mine", "runs": 3}
    assert cli("simulate", "-q", "--entries", "2e4", "--policy", "own_policy:Mine").code == 0
    back = cli("set-policy", tiered, "tiered,size_ratio=5", "--json").json
    assert back["from_policy"] == told["to_policy"]


@pytest.mark.parametrize("pace", ["greedy", "lazy"])
def test_a_store_whose_policy_is_lost_gets_another(cli: Cli, tiered: Path, own: Path, pace: str) -> None:
    """set-policy opened the store with the recorded policy first, so there was no way out."""
    assert cli("set-policy", tiered, "own_policy:Mine").code == 0
    (own / "own_policy.py").unlink()
    del sys.modules["own_policy"]
    told = cli("set-policy", tiered, "leveled,size_ratio=3", "--pace", pace, "--json").json
    assert told["from_policy"] == {"name": "own_policy:Mine", "runs": 4}
    assert told["to_policy"]["name"] == "leveled"
    assert told["pace"] == pace
    assert told["remaining"]["steps"] == told["predicted"]["steps"] > 0
    with lsmkv.open(str(tiered), lsmkv.Options(scheduler=ManualScheduler())) as db:
        assert db.stats().transition.pace == pace
