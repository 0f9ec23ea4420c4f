"""A recorded policy comes back as itself, or as an error that says what to do."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import dataclass

import pytest

from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.lazy_leveling import LazyLeveling
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.registry import describe_policy, from_description, load_policy


@pytest.mark.parametrize("policy", [Leveled(), Leveled(2), Leveled(64)])
def test_a_description_leads_back_to_its_policy(policy):
    described = policy.describe()
    assert next(iter(described)) == "name"
    assert from_description(json.loads(json.dumps(described))) == policy


def test_nothing_recorded_means_the_default():
    assert from_description({}) == Leveled()


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ({"name": "cascading"}, "'cascading'.*leveled.*Options"),
        ({"size_ratio": 4}, "None"),
        ({"name": "leveled", "runs": 3}, "runs.*Options"),
        ({"name": "leveled", "size_ratio": 1000}, "size_ratio=1000"),
        ({"name": "no.such.module:Mine"}, "no.such.module.*Options"),
        ({"name": "json:Mine"}, "Mine.*Options"),
        ({"name": "json:JSONDecoder"}, "pick.*Options"),
        ({"name": "json:dumps"}, "pick.*Options"),
    ],
)
def test_what_cannot_be_built_is_an_error_that_says_what_to_do(description, said):
    with pytest.raises(InvalidArgumentError, match=said):
        from_description(description)


def test_short_names_are_those_people_type():
    assert load_policy("lazy") is load_policy("lazy-leveling") is load_policy("Lazy_Leveling") is LazyLeveling
    with pytest.raises(InvalidArgumentError, match=r"fifo.*module:Class"):
        load_policy("levelled")


@dataclass(frozen=True)
class Mine:
    """A custom policy without a description of its own."""

    runs: int = 3
    limits: tuple[int, ...] = (1, 2)

    def pick(self, shape):
        return None


@pytest.fixture
def importable():
    """Mine, where it can be imported from: a module called ``mymod``."""
    module = types.ModuleType("mymod")
    module.Mine = Mine
    sys.modules["mymod"] = module
    named = Mine.__module__
    Mine.__module__ = "mymod"
    yield
    Mine.__module__ = named
    del sys.modules["mymod"]


def test_a_custom_policy_is_recorded_by_import_name(importable):
    described = describe_policy(Mine(5, (7,)))
    assert described == {"name": "mymod:Mine", "runs": 5, "limits": (7,)}
    assert from_description(json.loads(json.dumps(described))) == Mine(5, (7,))
    assert load_policy("mymod:Mine") is Mine


def test_a_custom_policy_with_parameters_it_does_not_take_is_an_error(importable):
    with pytest.raises(InvalidArgumentError, match=r"height.*Options"):
        from_description({"name": "mymod:Mine", "height": 5})


def test_what_could_not_be_found_again_is_refused():
    class Hidden:
        def pick(self, shape):
            return None

    with pytest.raises(InvalidArgumentError, match="inside a function"):
        describe_policy(Hidden())


class Loose:
    """Has fields, but is no dataclass."""

    def __init__(self):
        self.runs = 3

    def pick(self, shape):
        return None

    describe = None


class Wrong(Leveled):
    """Describes itself without a name."""

    def describe(self):
        return {"size_ratio": 3}


def test_a_description_needs_parameters_and_a_name():
    with pytest.raises(InvalidArgumentError, match="no dataclass"):
        describe_policy(Loose())
    with pytest.raises(InvalidArgumentError, match="must be a dict with a name"):
        describe_policy(Wrong())
