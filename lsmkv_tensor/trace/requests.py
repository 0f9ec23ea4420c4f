"""Traces of requests in the format that Mooncake published: one JSON object a line. Pure.

::

    {"timestamp": 3052, "input_length": 6758, "output_length": 500, "hash_ids": [0, 14, 15, 16]}

``timestamp`` in milliseconds; lengths in tokens; ``hash_ids`` name the blocks of the prompt, each id standing for the whole
prefix up to and with its block, so equal ids are equal prefixes. The last block may be partial and counts like the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.errors import InvalidArgumentError

__all__ = ["Request", "Trace", "parse_trace", "trace_lines"]

Ids: TypeAlias = NDArray[np.int64]


class Request(NamedTuple):
    """One prompt."""

    at_s: float
    """When it came, in seconds from the beginning of the trace."""
    blocks: Ids
    """Its blocks, root first, numbered densely from 0 in order of first appearance."""
    input_tokens: int
    output_tokens: int


class Trace(NamedTuple):
    """Requests in order of arrival."""

    requests: list[Request]
    unique_blocks: int

    @property
    def references(self) -> int:
        """Blocks of all requests together."""
        return sum(len(request.blocks) for request in self.requests)

    @property
    def ideal_hit_rate(self) -> float:
        """The part of references that an endless cache would hit."""
        return 1 - self.unique_blocks / max(self.references, 1)


def parse_trace(lines: Iterable[str]) -> Trace:
    """The trace in these lines; empty lines are skipped. InvalidArgumentError names the line that is no request."""
    numbers: dict[int, int] = {}
    requests: list[Request] = []
    for at, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
            ids = found["hash_ids"]
            at_s = found["timestamp"] / 1000
            tokens = int(found["input_length"]), int(found["output_length"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidArgumentError(f"line {at} of the trace is no request ({type(error).__name__}: {error})") from error
        if not isinstance(ids, list) or not all(type(one) is int for one in ids) or len(set(ids)) != len(ids):
            raise InvalidArgumentError(f"line {at} of the trace: hash_ids must be a list of distinct integers")
        if requests and at_s < requests[-1].at_s:
            raise InvalidArgumentError(f"line {at} of the trace is earlier than the one before it")
        blocks = np.array([numbers.setdefault(one, len(numbers)) for one in ids], dtype=np.int64)
        requests.append(Request(at_s, blocks, *tokens))
    return Trace(requests, len(numbers))


def trace_lines(trace: Trace) -> Iterator[str]:
    """The lines of a trace, as :func:`parse_trace` reads them."""
    for request in trace.requests:
        record = {
            "timestamp": round(request.at_s * 1000),
            "input_length": request.input_tokens,
            "output_length": request.output_tokens,
            "hash_ids": request.blocks.tolist(),
        }
        yield json.dumps(record, separators=(",", ":"))
