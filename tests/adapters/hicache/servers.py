"""Servers in processes of their own, each with a backend on the machine's disk; told over a pipe what to do.

A world (a module with ``start(path, seed, settings, ranks)``, ``keys``, ``slots`` and ``PAGE``) says what pools and backends are:
the small stand-ins here, SGLang's own in the jobs against the real package.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from importlib import import_module
from threading import Event

PATIENCE_S = 60
"""Only so that a test that fails does fail."""


class Engine:
    """What a server's process does when it is told to."""

    def __init__(self, world, path, seed, settings, ranks):
        self.world = import_module(world)
        self.backend = self.world.start(path, seed, settings, ranks)

    def pool(self, name):
        return self.backend._pools[name].host.pool

    def store(self, pages, name="kv"):
        told = self.backend.batch_set_v2([self.world.transfer(name, self.world.keys(pages), self.world.slots(pages, name))])
        return told[name]

    def sync(self):
        """What was accepted is on disk, for everybody to see."""
        self.backend.holding.store.sync()

    def load(self, pages, name="kv"):
        """What came, as digests by page."""
        keys, slots = self.world.keys(pages), self.world.slots(pages, name)
        flags = self.backend.batch_get_v2([self.world.transfer(name, keys, slots)])[name]
        return {page: digest for page, digest in self.content(pages, name).items() if flags[pages.index(page)]}

    def content(self, pages, name="kv"):
        """Digests of what is in the pool."""
        pool = self.pool(name)
        found = {}
        for page in pages:
            first = int(self.world.slots([page], name)[0])
            found[page] = hashlib.sha256(pool.get_data_page(first).contiguous().flatten().view(self.world.BYTES).numpy()).digest()
        return found

    def exists(self, pages):
        return self.backend.batch_exists(self.world.keys(pages))

    def written(self):
        """Pages that this process brought to its disk."""
        return self.backend.holding.store.stats().put_pages

    def look(self):
        held, meter = self.backend.holding, self.backend.meter
        return {"state": held.state, "member": held.member, "reason": held.reason, "declined": meter.declined_pages} | {
            "errors": meter.errors
        }

    def until_own(self, pages):
        """Store, as a server does all the time, until its directory is its own."""
        while self.backend.holding.state != "own":
            self.store(pages)
            Event().wait(0.02)
        return self.look()

    def store_for_ever(self, pages):
        """Store one page after the other until this process is killed; each number is told when its set has returned."""
        for page in pages:
            self.store([page])
            self.tell(page)
        Event().wait()

    def close(self):
        self.backend.close()


def _live(pipe, world, path, seed, settings, ranks):
    """A server's process."""
    try:
        engine = Engine(world, path, seed, settings, ranks)
        engine.tell = lambda value: pipe.send(("told", value))
        pipe.send(("done", engine.look()))
        while True:
            name, rest = pipe.recv()
            pipe.send(("done", getattr(engine, name)(*rest)))
    except EOFError:
        return
    except BaseException as error:
        pipe.send(("failed", f"{type(error).__name__}: {error}"))
        raise


class Server:
    """A server as the test sees it: every method of :class:`Engine`, done in its process."""

    def __init__(self, context, *rest):
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_live, args=(theirs, *rest), daemon=True)
        self._process.start()
        theirs.close()
        self.started = self.answer()

    def __getattr__(self, name):
        return lambda *rest: (self.begin(name, *rest), self.answer())[1]

    def begin(self, name, *rest):
        """Tell it, and do not wait."""
        self._pipe.send((name, rest))

    def answer(self):
        assert self._pipe.poll(PATIENCE_S), "the server does not answer"
        kind, value = self._pipe.recv()
        assert kind != "failed", value
        return value

    def kill(self):
        if self._process.is_alive():
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.join(PATIENCE_S)
        self._pipe.close()


class Servers:
    """All servers of a test on one directory."""

    def __init__(self, world, path):
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([world])
        self.world = world
        self.path = path
        self.all = []

    def start(self, seed=None, settings=None, **ranks):
        """Started, and through with it. ``seed``: of what its pools hold; None: nothing."""
        self.all.append(Server(self.context, self.world, str(self.path), seed, settings or {}, ranks))
        return self.all[-1]

    def stop(self):
        for server in self.all:
            server.kill()
