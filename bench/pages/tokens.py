"""The same question asked in tokens: what the hash chain costs on top of the index."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable

import numpy as np

from bench.harness import Case
from bench.pages.scale import PROBE, Probe
from bench.session import Session
from bench.targets import OURS

__all__ = ["measure_token_probe"]

_PAGE_TOKENS = 16
_SHAPE = (2, 1, _PAGE_TOKENS, 1, 64)
"""Keys and values of 16 tokens in one layer: 4 KiB as int16."""


def measure_token_probe(session: Session, probe: Probe) -> None:
    """``TensorStore.probe`` of 512 pages of tokens, half of them stored, beside the bare chain of SHA-256 over them."""
    name = f"probe {PROBE}, half present, tokens"
    if not session.request.wants(name):
        return
    try:
        import torch  # noqa: PLC0415 - optional: it comes with the extra "tensor"

        from lsmkv_tensor import PageFormat, TensorStore  # noqa: PLC0415 - as above
    except ImportError as error:
        session.missing["lsmkv, TensorStore"] = f"cannot be imported ({error})"
        return
    home = session.request.scratch / "tokens"
    tokens = np.random.default_rng(session.request.seed).integers(0, 50_000, PROBE * _PAGE_TOKENS, dtype=np.uint32)
    pages = torch.zeros((PROBE // 2, *_SHAPE), dtype=torch.float16)
    fmt = PageFormat(page_tokens=_PAGE_TOKENS, shape=_SHAPE, dtype=torch.float16)
    with TensorStore.open(str(home), fmt, namespace="bench") as store:
        store.put_batch(tokens[: PROBE // 2 * _PAGE_TOKENS], pages)
    with TensorStore.open(str(home), fmt, namespace="bench") as store:

        def ask() -> None:
            covered = store.probe(tokens)
            if covered != PROBE // 2 * _PAGE_TOKENS:
                msg = f"probe answered {covered} tokens, {PROBE // 2 * _PAGE_TOKENS} are stored"
                raise RuntimeError(msg)

        work = {OURS: _timed(ask), "SHA-256 chain": _timed(lambda: _chain(tokens.tobytes()))}
        session.measure(Case(name, "probe tokens", "us", "lower", work), probe.reads)
    shutil.rmtree(home, ignore_errors=True)


def _chain(data: bytes) -> bytes:
    digest, size = b"", 4 * _PAGE_TOKENS
    for start in range(0, len(data), size):
        digest = hashlib.sha256(digest + data[start : start + size]).digest()
    return digest


def _timed(work: Callable[[], object]) -> Callable[[], float]:
    def once() -> float:
        began = time.perf_counter()
        work()
        return (time.perf_counter() - began) * 1e6

    return once
