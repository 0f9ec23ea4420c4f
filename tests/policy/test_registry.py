"""A recorded policy comes back as itself, or as an error that says what to do."""

from __future__ import annotations

import json

import pytest

from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.registry import from_description


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
    ],
)
def test_what_cannot_be_built_is_an_error_that_says_what_to_do(description, said):
    with pytest.raises(InvalidArgumentError, match=said):
        from_description(description)
