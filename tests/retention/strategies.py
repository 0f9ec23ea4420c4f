"""Made-up loads: requests whose blocks form prefix trees, as prompts do."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lsmkv_tensor.trace.requests import Request, Trace


@st.composite
def request_lists(draw: st.DrawFn, most: int = 60) -> list[list[int]]:
    """Requests that go on from an earlier one's prefix, or begin anew."""
    requests: list[list[int]] = []
    fresh = 0
    for _ in range(draw(st.integers(1, most))):
        base: list[int] = []
        if requests and draw(st.booleans()):
            base = draw(st.sampled_from(requests))
            base = base[: draw(st.integers(0, len(base)))]
        new = draw(st.integers(0 if base else 1, 8))
        requests.append([*base, *range(fresh, fresh + new)])
        fresh += new
    return requests


def trace_of(requests: list[list[int]]) -> Trace:
    """The trace of these requests, a second apart."""
    made = [Request(float(i), np.array(r, dtype=np.int64), 512 * len(r), 1) for i, r in enumerate(requests)]
    return Trace(made, max((b for r in requests for b in r), default=-1) + 1)
