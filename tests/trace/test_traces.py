"""Traces are read, refused where they are none, and made from a seed."""

from __future__ import annotations

import numpy as np
import pytest

from lsmkv.env.rng import seeded
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.trace import Phase, generate, parse_trace, trace_lines

LINE = '{"timestamp": 3052, "input_length": 1100, "output_length": 5, "hash_ids": [40, 7, 9]}'


def test_blocks_are_numbered_in_order_of_appearance() -> None:
    trace = parse_trace([LINE, "", LINE.replace("[40, 7, 9]", "[40, 8]")])
    assert [r.blocks.tolist() for r in trace.requests] == [[0, 1, 2], [0, 3]]
    assert trace.requests[0].at_s == 3.052
    assert (trace.references, trace.unique_blocks) == (5, 4)
    assert trace.ideal_hit_rate == pytest.approx(0.2)


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"hash_ids": [1]}', LINE.replace("7", '"x"'), LINE.replace("7", "40"), LINE.replace("3052", "1")]
)
def test_a_line_that_is_no_request_is_named(line: str) -> None:
    with pytest.raises(InvalidArgumentError, match="line 2"):
        parse_trace([LINE, line])


def test_a_made_trace_repeats_from_its_seed_and_reads_back() -> None:
    phases = [Phase(requests=200, sharing=0.2), Phase(requests=100, sharing=0.9, turns=5)]
    made = generate(phases, seeded(3))
    lines = list(trace_lines(made))
    assert lines == list(trace_lines(generate(phases, seeded(3))))
    assert lines != list(trace_lines(generate(phases, seeded(4))))
    again = parse_trace(lines)
    assert len(again.requests) == 300
    assert again.references == made.references


def test_sharing_and_turns_do_what_they_say() -> None:
    def shared(sharing: float) -> float:
        made = generate([Phase(requests=2000, sharing=sharing, turns=1, prompts=5)], seeded(1))
        roots = [int(r.blocks[0]) for r in made.requests]
        return 1 - len(set(roots)) / len(roots)

    assert shared(0.0) < 0.01
    assert 0.4 < shared(0.5) < 0.6
    assert shared(1.0) > 0.99

    made = generate([Phase(requests=4000, sharing=0.0, turns=4, think_s=1.0)], seeded(1))
    conversations = {int(r.blocks[0]) for r in made.requests}
    assert 3.5 < len(made.requests) / len(conversations) < 4.5
    times = np.array([r.at_s for r in made.requests])
    assert (np.diff(times) >= 0).all()


def test_phases_have_prompts_of_their_own() -> None:
    made = generate([Phase(requests=100, sharing=1.0), Phase(requests=100, sharing=1.0, turns=1)], seeded(0))
    first = {int(r.blocks[0]) for r in made.requests[:100]}
    assert not first & {int(r.blocks[0]) for r in made.requests[100:]}


@pytest.mark.parametrize("wrong", [{"sharing": 1.5}, {"turns": 0.5}, {"requests": 0}])
def test_what_cannot_be_made_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        Phase(**wrong)
