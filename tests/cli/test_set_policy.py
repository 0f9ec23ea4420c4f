"""``lsmkv set-policy`` changes the policy of a store and says what it costs."""

from __future__ import annotations

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
