"""Traces of requests: read, made, replayed against a cache of blocks or a real store."""

from lsmkv_tensor.trace.generate import Phase, generate
from lsmkv_tensor.trace.requests import Request, Trace, parse_trace, trace_lines
from lsmkv_tensor.trace.rows import Row, as_csv
from lsmkv_tensor.trace.run import replay
from lsmkv_tensor.trace.stored import replay_store

__all__ = ["Phase", "Request", "Row", "Trace", "as_csv", "generate", "parse_trace", "replay", "replay_store", "trace_lines"]
