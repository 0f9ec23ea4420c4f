"""How long a prefix of this chain is stored?"""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.data import GROUP, chain_digests, random_pages
from bench.harness import Case
from bench.pages.scale import PROBE, Kinds, Probe
from bench.pages.tokens import measure_token_probe
from bench.peers import PagePeer
from bench.peers.base import Pages
from bench.session import Session

__all__ = ["measure_probes"]

_NOT_PROBING = ("bare log", "bare preads", "hicachefile-syncfs", "rocksdict-blob", "safetensors")


def anchored_keys(count: int, seed: int) -> list[bytes]:
    """28 bytes, ``anchor 12 | index 2 | digest 14``: the pages of a conversation in groups of 64 neighbours."""
    rng = np.random.default_rng(seed)
    groups = -(-count // GROUP)
    anchors, digests = rng.bytes(groups * 12), rng.bytes(count * 14)
    return [
        anchors[i // GROUP * 12 : (i // GROUP + 1) * 12] + (i % GROUP).to_bytes(2, "big") + digests[i * 14 : (i + 1) * 14]
        for i in range(count)
    ]


def measure_probes(session: Session, kinds: Kinds, probe: Probe) -> None:
    """512 pages of which the first half is stored, among many others; keys that are neighbours, and keys that are not."""
    for shape, make in (("anchored", anchored_keys), ("flat", chain_digests)):
        name = f"probe {PROBE}, half present, {shape} keys"
        if session.request.wants(name):
            _probe(session, kinds, probe, name, f"probe {shape}", make)
    measure_token_probe(session, probe)


def _probe(session: Session, kinds: Kinds, probe: Probe, name: str, key: str, make: Callable[[int, int], list[bytes]]) -> None:
    root = session.request.scratch / "probe"
    seed = session.request.seed
    asked = make(PROBE, seed + 1)
    digests = make(probe.pages, seed + 2) + asked[: PROBE // 2]
    random.Random(seed).shuffle(digests)
    page = random_pages(1, 4096, seed)
    with contextlib.ExitStack() as stack:

        def store(kind: type[PagePeer]) -> Callable[[], float]:
            done = session.busy(f"storing {kind.name}")
            home = root / ("hicachefile" if kind.name == "hicachefile-scan" else kind.name)  # they query the same files
            home.parent.mkdir(parents=True, exist_ok=True)
            if not home.exists():
                peer = kind(home, 4096)
                _fill(peer, digests, page)
                peer.close()
            peer = kind(home, 4096)
            stack.callback(peer.close)
            done()
            return _probing(peer, peer.keys_for(asked))

        work = session.open_each((kind for subject, kind in kinds.items() if subject not in _NOT_PROBING), store)
        missing = {subject: why for subject, why in session.missing.items() if subject not in _NOT_PROBING}
        session.measure(Case(name, key, "us", "lower", work, missing), probe.reads)
    shutil.rmtree(root, ignore_errors=True)


def _fill(peer: PagePeer, digests: list[bytes], page: Pages) -> None:
    keys = peer.keys_for(digests)
    for start in range(0, len(keys), 256):
        part = keys[start : start + 256]
        peer.put_batch(part, np.broadcast_to(page, (len(part), page.shape[1])))
    peer.settle()


def _probing(peer: PagePeer, keys: list[Any]) -> Callable[[], float]:
    def once() -> float:
        began = time.perf_counter()
        covered = peer.probe(keys)
        taken = time.perf_counter() - began
        if covered != PROBE // 2:
            msg = f"probe answered {covered} pages, {PROBE // 2} are stored"
            raise RuntimeError(msg)
        return taken * 1e6

    return once
