"""Policies are found by short names or by where they can be imported from; what is wrong with a name is said."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.retention.names import load_admission, load_eviction

CUSTOM = """
class Mine:
    def __init__(self, capacity_bytes, power=1):
        self.made_with = capacity_bytes, power
    def on_insert(self, pages, sizes, prints): ...
    def on_hit(self, pages): ...
    def on_remove(self, pages, evicted): ...
    def victims(self, nbytes): ...

class NoPolicy:
    pass

instance = Mine(1)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "house_policies.py").write_text(CUSTOM)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "house_policies", raising=False)
    return "house_policies"


def test_a_class_of_ones_own_is_made_with_the_capacity_and_its_parameters(module: str) -> None:
    assert load_eviction(f"{module}:Mine")(100).made_with == (100, 1)  # type: ignore[attr-defined] - a class of the test's own
    assert load_eviction(f"{module}:Mine, power=2.5")(100).made_with == (100, 2.5)  # type: ignore[attr-defined] - as above
    assert load_eviction(f"{module}:Mine,power=strong")(7).made_with == (7, "strong")  # type: ignore[attr-defined] - as above


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nonsense", "no eviction policy is called 'nonsense'"),
        ("no_such_module:Policy", "cannot import the eviction policy"),
        ("house_policies:Missing", "cannot import the eviction policy"),
        ("house_policies:NoPolicy", "has to be a class with the methods on_insert"),
        ("house_policies:instance", "has to be a class"),
        ("house_policies:Mine,power", "should read parameter=value"),
        ("house_policies:Mine,power=1,power=2", "given twice"),
    ],
)
@pytest.mark.usefixtures("module")
def test_a_name_that_leads_nowhere_is_refused_with_the_reason(name: str, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        load_eviction(name)


def test_parameters_that_a_class_does_not_take_are_refused(module: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"there is no setting 'colour' \(its settings are power\)"):
        load_eviction(f"{module}:Mine,colour=1")
    with pytest.raises(InvalidArgumentError, match="there is no setting 'capacity_bytes'"):
        load_eviction(f"{module}:Mine,capacity_bytes=1")


@pytest.mark.parametrize(
    ("load", "name", "said"),
    [
        (
            load_eviction,
            "mq,foo=3",
            "eviction policy 'mq,foo=3': there is no setting 'foo' (its settings are lifetime, ghosts, queues)",
        ),
        (load_eviction, "lru,foo=3,bar=4", "there is no setting 'foo', 'bar' (its settings are ghosts)"),
        (
            load_admission,
            "adaptive,foo=3",
            "admission policy 'adaptive,foo=3': there is no setting 'foo' (its settings are regret)",
        ),
        (load_admission, "all,foo=3", "there is no setting 'foo' (it has no settings)"),
        (load_admission, "second,write_bytes_per_day=3", "there is no setting 'write_bytes_per_day' (it has no settings)"),
    ],
)
def test_a_setting_that_there_is_not_is_named_beside_those_there_are(load, name: str, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(said)):
        load(name)


def test_admitting_all_admits_all() -> None:
    admit = load_admission("all")(100, None)
    prints = np.arange(5, dtype=np.uint64)
    assert admit.decide(prints, np.ones(5, dtype=np.int64), 0.0).tolist() == [True] * 5


@pytest.mark.parametrize("lifetime", ["0.5", "True", "-1", "'long'"])
def test_a_lifetime_that_is_no_number_of_touches_is_refused(lifetime: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"lifetime = .*: must be a whole number of touches"):
        load_eviction(f"mq,lifetime={lifetime}")(100)
