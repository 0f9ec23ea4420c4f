"""The machine of everything, in company: siblings that write and look in mid-call, packs, forks, hangs, tensors, power cuts.

Each rule adds one kind of neighbour to :class:`TogetherMachine`. A sibling (a store of its own, with pages of its own) and a
follower also look between two calls to the file system of whatever the store is doing: recycling and eviction included.
"""

from __future__ import annotations

import contextlib
import os
import threading

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import settings
from hypothesis.stateful import invariant, precondition, rule

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing import Hang
from lsmkv_tensor import LivePages, PageFormat, TensorStore, export_pack, import_pack
from lsmkv_tensor.codec import tensor_codec
from lsmkv_tensor.errors import ClosedError, IOFailedError, LsmError
from lsmkv_tensor.identity import tensor_identity
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore

from .test_page_store_together import INDEX, KEYS, SEGMENT, SIZES, TogetherMachine, ids, key, page, spaces

OWN = 8
"""Pages that the sibling stores itself."""
FORMAT = PageFormat(page_tokens=2, shape=(3, 700), dtype=torch.int8)
PACKS = "/packs"
CANARY = 0xA5
prompts = st.lists(st.sampled_from([1, 2]), min_size=1, max_size=5).map(lambda pages: [t for t in pages for _ in range(2)])


def tensor_of(prompt) -> torch.Tensor:
    """The last page of a prompt."""
    noise = np.random.default_rng([7, *prompt]).integers(-128, 128, FORMAT.page_bytes, dtype=np.int8)
    return torch.from_numpy(noise).view(FORMAT.shape)


class CompanyMachine(TogetherMachine):
    """The rules of :class:`TogetherMachine`, and what others do meanwhile."""

    def open(self):
        self.wrong: list[str] = []
        self.aside = 0
        """Calls to the file system until somebody looks; 0: nobody will."""
        self.power = 0
        """Calls until the power is cut; 0: it stays on."""
        self.sibling = None
        if not self.disk.exists(PACKS):
            self.disk.mkdir(PACKS)
            self.disk.sync_dir("/")
        self.packs: dict[int, tuple[int, dict[int, int]]] = {}
        super().open()
        self.tensors = self.tensor_view()

    def tensor_view(self):
        fields, name = tensor_identity("tensors", FORMAT, tensor_codec("raw", FORMAT))
        return TensorStore(self.store, self.store.namespace(fields, FORMAT.page_bytes, name=name), FORMAT)

    def measure(self, op, path):
        self.peak = max(self.peak, self.disk.total_bytes("/one/a") + self.disk.total_bytes("/two/a"))
        if self.power:
            self.power -= 1
            if not self.power:
                self.disk.power_off()
        if self.aside:
            self.aside -= 1
            if not self.aside:
                with self.beside():
                    self.look()

    # siblings

    def member(self):
        """A store beside ours that follows it, opened when it is first needed."""
        if self.sibling is None:
            options = StoreOptions(
                capacity_bytes=INDEX + 8192 + 4 * SEGMENT,
                segment_bytes=SEGMENT,
                index_bytes=INDEX,
                fs=self.disk,
                clock=self.clock,
                rng=seeded(3),
                scheduler=ManualScheduler(),
            )
            self.sibling = PageStore.open("/one", options=options, member="b")
        return self.sibling

    def seen_by_sibling(self, n):
        return self.member().namespace({"n": n, "life": self.generation[n]}, SIZES[n])

    def look(self):
        """What siblings read is never wrong, whatever the writer is in the middle of; they must not trouble it."""
        try:
            for n in SIZES:
                space = self.seen_by_sibling(n)
                asked = [*range(KEYS), *range(1000, 1000 + OWN)]
                out = np.zeros((len(asked), SIZES[n]), np.uint8)
                flags = space.get_into([key(i) for i in asked], out)
                for at in np.flatnonzero(flags).tolist():
                    i = asked[at]
                    put = range(1, self.versions.get((n, i), 0) + 1)
                    allowed = [page(n, i, v) for v in put if not self.ended(n, i, v)] if i < KEYS else [page(n, i, 1)]
                    if out[at].tobytes() not in allowed:
                        self.wrong.append(f"sibling read wrong bytes of page {n}/{i}")
        except BaseException as error:  # noqa: BLE001 - what the writer would take for its own disk's failure
            self.wrong.append(repr(error))

    @contextlib.contextmanager
    def beside(self):
        """What happens now is not our store's doing."""
        hook, self.disk.on_op = self.disk.on_op, None
        try:
            yield
        finally:
            self.disk.on_op = hook

    @rule(after=st.integers(1, 120))
    def look_in_the_middle(self, after):
        """Of whatever comes next."""
        self.aside = after

    @rule(n=spaces, which=st.lists(st.integers(1000, 1000 + OWN - 1), min_size=1, max_size=4, unique=True))
    def sibling_writes(self, n, which):
        """Pages of its own, enough of them to evict and recycle there, too."""
        with self.beside():
            space = self.seen_by_sibling(n)
            space.put_many([key(i) for i in which], [page(n, i, 1) for i in which])
            self.member().step()
            self.look()
        out = np.zeros((len(which), SIZES[n]), np.uint8)
        for at in np.flatnonzero(self.spaces[n].get_into([key(i) for i in which], out)).tolist():
            assert out[at].tobytes() == page(n, which[at], 1)
        self.after()

    @invariant()
    def siblings_are_right(self):
        assert not getattr(self, "wrong", None), self.wrong

    # packs

    @precondition(lambda self: not self.armed)
    @rule(n=spaces, brief=st.lists(st.integers(0, KEYS - 1), max_size=3, unique=True))
    def export(self, n, brief):
        """Everything, some pages of which end soon."""
        if brief:
            self.delete(n, brief)
            self.put(n, brief, 60, True)
        space = self.spaces[n]
        self.store.sync()
        self.note_synced()
        there = self.check_versions(n)
        report = export_pack(LivePages(space), f"{PACKS}/{n}", fs=self.disk, overwrite=True)
        assert (report.pages, report.missing) == (len(there), 0)
        self.packs[n] = (self.generation[n], there)

    @precondition(lambda self: not self.armed and self.packs)
    @rule(n=spaces, anew=st.booleans(), later_s=st.sampled_from([0, 0, 90]))
    def import_(self, n, anew, later_s):
        life, pages = self.packs.get(n, (-1, {}))
        if life != self.generation[n]:
            return
        if anew:
            self.delete(n, list(pages))
        before = self.present(n)
        for i, version in pages.items():
            if i not in before and not self.ended(n, i, version):
                self.synced.discard((n, i))
                self.pinned.discard((n, i))
                self.may_be((n, i), {version})
        report = import_pack(self.store, f"{PACKS}/{n}", fs=self.disk)
        ended = sum(self.ended(n, i, version) for i, version in pages.items())
        assert (report.damaged, report.complete) == (0, True)
        assert report.pages + report.present + report.declined + report.ended == len(pages)
        assert report.ended == ended
        self.after()
        self.clock.advance(later_s)
        self.check(n, pages)

    def check_versions(self, n):
        """Which version of each page is there."""
        out = np.zeros((KEYS, SIZES[n]), np.uint8)
        flags = self.spaces[n].get_into([key(i) for i in range(KEYS)], out)
        found = {}
        for i in np.flatnonzero(flags).tolist():
            found[i] = next(v for v in range(1, self.versions[n, i] + 1) if page(n, i, v) == out[i].tobytes())
        return found

    # tensors

    @rule(prompt=prompts, wait=st.sampled_from([None, True]))
    def put_tensors(self, prompt, wait):
        pages = [tensor_of(prompt[:stop]) for stop in range(2, len(prompt) + 1, 2)]
        assert 0 <= self.tensors.put_batch(prompt, pages, wait=wait) <= len(pages)
        self.after()

    @rule(prompt=prompts)
    def get_tensors(self, prompt):
        known = self.tensors.probe(prompt)
        got = self.tensors.get_batch(prompt)
        assert 2 * len(got) == known or self.armed or self.store.health().state != "ok"
        for at, tensor in enumerate(got):
            assert torch.equal(tensor, tensor_of(prompt[: 2 * at + 2]))
        self.after()

    @rule(prompt=prompts)
    def drop_tensors(self, prompt):
        try:
            self.tensors.drop(prompt)
        except IOFailedError:
            assert self.armed or self.store.health().state != "ok"
        else:
            assert self.tensors.probe(prompt) < len(prompt)
            assert self.tensors.probe([*prompt, 1, 1]) < len(prompt)
        self.after()

    # what happens to processes and disks

    @rule(n=spaces, which=ids)
    def fork(self, n, which):
        """The child has no store; the parent notices nothing."""
        child = os.fork()
        if not child:
            try:
                self.spaces[n].get_into([key(i) for i in which], [bytearray(SIZES[n]) for _ in which])
            except ClosedError:
                os._exit(0 if self.store.health().state == "closed" else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        self.check(n, which)

    @rule(n=spaces, which=ids, nth=st.integers(1, 3))
    def hang(self, n, which, nth):
        """A read that hangs costs pages, and none of them is written to later."""
        stuck = self.fs.add(Hang("preadv", path="*.seg", nth=nth, times=1))
        out = np.full((len(which), SIZES[n]), CANARY, np.uint8)
        flags: list[bool] = []
        ask = threading.Thread(target=lambda: flags.extend(self.spaces[n].get_into([key(i) for i in which], out, deadline_s=5.0)))
        ask.start()
        while ask.is_alive() and not stuck.reached.wait(0.001):
            pass
        self.clock.advance(6.0)
        ask.join()
        late = out[[at for at, flag in enumerate(flags) if not flag]].copy()
        stuck.event.set()
        self.fs.remove(stuck)
        attempts = self.store._services.attempts
        while attempts.left:
            threading.Event().wait(0.001)
        assert (out[[at for at, flag in enumerate(flags) if not flag]] == late).all()
        for at, i in enumerate(which):
            if flags[at]:
                assert out[at].tobytes() in {page(n, i, v) for v in self.could[n, i]}
        self.after()

    @precondition(lambda self: not self.armed)
    @rule(
        n=spaces,
        which=ids,
        what=st.sampled_from(["put", "delete", "sync", "gc", "background", "drop", "close"]),
        at=st.integers(1, 60),
        seed=st.one_of(st.none(), st.integers(0, 1000)),
    )
    def power_cut_in_the_middle(self, n, which, what, at, seed):
        """Of a call; then as after any other one."""
        if self.store.health().state != "ok":
            return
        self.armed = True  # what fails now fails for a reason
        self.aside, self.power = 0, at
        self.calling(what, n, which)
        self.power = 0
        if what not in ("delete", "sync", "close"):
            self.synced = set()  # who was evicted in the call that never ended, nobody was told
        self.crash(seed)

    def calling(self, what, n, which):
        try:
            if what == "put":
                new = [i for i in which if i not in self.present(n)]
                for i in new:
                    version = self.versions[n, i] = self.versions.get((n, i), 0) + 1
                    self.may_be((n, i), {version} | self.could.get((n, i), set()))
                self.spaces[n].put_many([key(i) for i in new], [page(n, i, self.versions[n, i]) for i in new])
            elif what == "delete":
                self.synced -= {(n, i) for i in which}
                self.spaces[n].delete_many([key(i) for i in which])
            elif what == "drop":
                self.store.drop_namespace(self.spaces[n].number)
            elif what == "gc":
                self.store.gc(max_live=0.95)
            elif what == "background":
                self.store.step()
            else:
                getattr(self.store, what)()
        except (LsmError, OSError):
            pass

    def close(self):
        self.aside = 0
        if self.sibling is not None:
            with self.beside():
                self.sibling.close()
        super().close()

    @rule(seed=st.one_of(st.none(), st.integers(0, 1000)))
    def crash(self, seed):
        self.aside = 0
        super().crash(seed)


CompanyMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestCompany = CompanyMachine.TestCase
