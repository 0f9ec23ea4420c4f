"""Forward passes, clocks and counters of the demo: how each number is taken.

*Time to first token* (TTFT) runs from the prompt's token ids to the first token of the answer. Imports, loading the model,
tokenising, and opening the store are outside it; looking up, reading and handing over the stored prefix are inside.
*Cold* means that the store's files were dropped from the page cache just before; the bytes that then really came from the
device are read from ``/proc/self/io`` where the system has it.
"""

from __future__ import annotations

import gc
import hashlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lsmkv.env.clock import SystemClock
from lsmkv.env.posix import PosixFileSystem
from lsmkv_tensor.cli.demo_model import Model
from lsmkv_tensor.cli.demo_spec import Reporter

__all__ = [
    "Answer",
    "device_bytes",
    "digest",
    "disk_bytes",
    "drop_page_cache",
    "first_token",
    "greedy",
    "kv_parts",
    "median",
    "now",
    "prefix_parts",
    "same_parts",
    "warm_up",
]

Parts = list[torch.Tensor]
"""Keys and values of every layer, K before V, each ``[1, kv_heads, tokens, head_dim]``."""

_CLOCK = SystemClock()

now = _CLOCK.monotonic


def median(values: Sequence[float]) -> float:
    """The middle of some measurements."""
    return float(statistics.median(values))


@dataclass(frozen=True)
class Answer:
    """The outcome of one pass over (the rest of) a prompt."""

    token: int
    """Most likely next token."""
    logits: torch.Tensor
    """Its distribution, ``[vocabulary]``."""


def first_token(model: Model, ids: Sequence[int], cache: Any, report: Reporter | None = None) -> Answer:  # noqa: ANN401  # DynamicCache
    """Compute what ``cache`` does not hold of the prompt ``ids``; ``cache`` grows to all of them.

    ``report`` is told after each layer.
    """
    held = cache.get_seq_length()
    tokens = torch.tensor([list(ids[held:])])
    layers = model.model.layers
    hooks = []
    if report is not None:
        for i, layer in enumerate(layers):
            hooks.append(layer.register_forward_hook(lambda *_, done=i + 1: report.progress(done, len(layers))))
    try:
        logits = model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0, -1]
    finally:
        for hook in hooks:
            hook.remove()
    return Answer(int(logits.argmax()), logits)


def greedy(model: Model, cache: Any, first: int, count: int, stop: int) -> list[int]:  # noqa: ANN401  # DynamicCache
    """The answer that begins with ``first``: at most ``count`` tokens, the most likely one each time, ended by ``stop``."""
    answer = [first]
    while len(answer) < count and answer[-1] != stop:
        logits = model(input_ids=torch.tensor([[answer[-1]]]), past_key_values=cache, use_cache=True).logits[0, -1]
        answer.append(int(logits.argmax()))
    return answer


def warm_up(model: Model, new_cache: Any) -> None:  # noqa: ANN401  # a factory of DynamicCache
    """Let the libraries do what they do once (choose kernels, start threads) outside the measurements.

    What is loaded by now stays: taken out of the garbage collector's sight, as servers do, or a collection that happens to
    fall into a measurement walks over all of torch and transformers (0.1 s and more).
    """
    for count in (64, 8):
        first_token(model, list(range(3, 3 + count)), new_cache())
    gc.collect()
    gc.freeze()


def kv_parts(cache: Any) -> Parts:  # noqa: ANN401  # DynamicCache
    """The tensors of a cache, K before V, layer by layer (not copied)."""
    return [part for layer in cache.layers for part in (layer.keys, layer.values)]


def prefix_parts(cache: Any, tokens: int) -> Parts:  # noqa: ANN401  # DynamicCache
    """The first ``tokens`` tokens of :func:`kv_parts` (views)."""
    return [part[:, :, :tokens] for part in kv_parts(cache)]


def same_parts(a: Parts, b: Parts) -> bool:
    """Whether all tensors are equal, bit for bit in shape, type and value."""
    return len(a) == len(b) and all(x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(a, b, strict=True))


def digest(parts: Parts) -> str:
    """SHA-256 over the bytes of all tensors in order."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part.contiguous().view(torch.uint8).numpy().data)
    return state.hexdigest()


def drop_page_cache(path: Path) -> None:
    """Ask the system to forget what it holds in memory of a file, or of all files below a directory.

    Only clean pages go: sync first.
    """
    fs = PosixFileSystem()
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        handle = fs.open(str(file))
        handle.advise("dontneed")
        handle.close()


def device_bytes() -> int | None:
    """Bytes this process has had read from block devices so far; None where the system does not say."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("read_bytes:")), None)


def disk_bytes(path: Path) -> int:
    """Disk space taken by all files below a directory, in allocated blocks."""
    return sum(p.stat().st_blocks * 512 for p in path.rglob("*") if p.is_file())
