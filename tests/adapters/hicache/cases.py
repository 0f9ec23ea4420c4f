"""What servers in processes of their own do to each other on one directory. Run with stand-ins, and with the real SGLang."""

from __future__ import annotations

from pathlib import Path

from lsmkv.env.posix import PosixFileSystem
from lsmkv_tensor.vlog.stamp import Stamp, write_stamp

MANY = list(range(160))
"""More than SGLang asks for at once."""


def replicated_ranks(servers):
    """Rank 0 writes the KV pages, all ranks read them; Mamba states are each rank's own."""
    first = servers.start(1, mla=True, tp_rank=0, tp_size=2)
    second = servers.start(2, mla=True, tp_rank=1, tp_size=2)
    held = first.content(MANY)
    assert first.store(MANY) == [True] * len(MANY)
    first.sync()
    assert second.exists([*MANY, 999]) == len(MANY)
    assert second.load([*MANY, 500]) == held
    assert second.content(MANY) == held, "in its own pool"
    for server in (first, second):
        assert server.store([3], "mamba") == [True]
        server.sync()
    states = [server.content([3], "mamba") for server in (first, second)]
    assert states[0] != states[1]
    assert [server.load([3], "mamba") for server in (first, second)] == states
    assert second.written() == 1
    assert [server.look()["errors"] for server in (first, second)] == [{}, {}]


def replicas(servers):
    """Replicas share hits and store nothing twice; what one that was killed had synced stays."""
    first, second = servers.start(1, dp_rank=0), servers.start(1, dp_rank=1)
    held = first.content(MANY)
    assert all(first.store(MANY[:100]))
    first.sync()
    assert all(second.store(MANY[60:]))
    second.sync()
    assert second.written() == len(MANY) - 100
    blank = servers.start(None, dp_rank=2)
    assert blank.load([*MANY, 500]) == held
    second.kill()
    assert first.exists(MANY) == len(MANY)
    assert first.load(MANY[60:]) == {page: held[page] for page in MANY[60:]}
    again = servers.start(None, dp_rank=1)
    assert again.started["state"] == "own"
    assert again.load(MANY) == held


def both_at_once(servers):
    """Two replicas store the same pages at the same time: both are told that all is there, and it is."""
    pair = [servers.start(1, dp_rank=0), servers.start(1, dp_rank=1)]
    for server in pair:
        server.begin("store", MANY)
    assert [server.answer() for server in pair] == [[True] * len(MANY)] * 2
    for server in pair:
        server.sync()
    held = pair[0].content(MANY)
    assert [server.load(MANY) for server in pair] == [held] * 2


def rolling_restart(servers, conflict):
    """The new server starts while the old one holds the directory, reads from it, and has its own when the old one is gone."""
    old = servers.start(1)
    held = old.content(MANY)
    assert all(old.store(MANY[:40]))
    old.sync()
    new = servers.start(1, {"on_conflict": conflict})
    fresh = conflict == "fresh"
    assert (new.started["state"], new.started["member"]) == (("own", "tp0of1.2") if fresh else ("following", "tp0of1"))
    assert new.load(MANY) == {page: held[page] for page in MANY[:40]}
    assert new.store(MANY[:50]) == [True] * 50
    if fresh:
        new.sync()  # what waits in its queue is asked for again when it is written: the old one would have it by then
    assert new.look()["declined"] == (0 if fresh else 50)
    assert all(old.store(MANY[40:50])), "it serves its last requests"
    old.sync()
    old.close()
    old.kill()
    now = new.until_own([0])
    assert (now["reason"], now["errors"]) == (None, {})
    assert new.store(MANY) == [True] * len(MANY)
    new.sync()
    assert new.load(MANY) == held
    wrote = new.written()
    assert wrote == len(MANY) - (40 if fresh else 50), wrote


def killed_while_it_stores(servers):
    """A server that is killed between two instructions leaves every page it told of, and a directory to start in."""
    last = -1
    for stop in (3, 40, 90):
        server = servers.start(1, {"put_queue_bytes": 0})  # a queue's pages die with their process
        assert server.started["state"] == "own"
        held = server.content(MANY)
        server.begin("store_for_ever", MANY[last + 1 :])
        while last < stop:
            last = server.answer()
        server.kill()
        found = servers.start(None, {"on_conflict": "follow"}).load(MANY)
        servers.all[-1].kill()
        assert found == {page: held[page] for page in found}
        assert set(found) >= set(MANY[: last + 1])


def spoilt(directory, how):
    """Spoil a store that nobody has open."""
    stamp = Path(directory, "STORE")
    if how == "newer":
        write_stamp(PosixFileSystem(), directory, Stamp(1 << 20, bytes(16), version=99))
    elif how == "stamp":
        stamp.write_bytes(b"\xff" * stamp.stat().st_size)
    elif how == "index":
        manifest = Path(directory, "index", "MANIFEST")
        data = bytearray(manifest.read_bytes())
        data[20:60] = bytes(b ^ 0x5A for b in data[20:60])
        manifest.write_bytes(data)
    else:
        for file in Path(directory, "index").iterdir():
            file.unlink()


def start_in_a_spoilt_directory(servers, how, conflict):
    """Newer, damaged, or without its index: the server starts, reads what is sound, stores where it may."""
    old = servers.start(1)
    held = old.content(MANY)
    assert all(old.store(MANY[:40]))
    old.sync()
    old.close()
    old.kill()
    (stamp,) = Path(servers.path).rglob("STORE")
    spoilt(str(stamp.parent), how)
    new = servers.start(1, {"on_conflict": conflict})
    found = new.load(MANY)
    assert found == {page: held[page] for page in found}
    assert new.store(MANY[:50]) == [True] * 50
    if conflict == "fresh" or how == "nothing":
        assert new.started["state"] == "own"
        new.sync()
        assert new.load(MANY[:50]) == {page: held[page] for page in MANY[:50]}
    else:
        assert new.started["state"] == "following"
        assert new.started["reason"]
        assert new.look()["declined"] == 50
