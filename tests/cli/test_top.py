"""``lsmkv top``: frames for people, lines for programs, and a terminal that is left as it was."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

import lsmkv
from lsmkv.cli.top import frames
from lsmkv.cli.top_view import draw
from lsmkv.env.posix import PosixFileSystem
from lsmkv.observe.frame import Watcher
from lsmkv.testing import ManualClock
from tests.observe.test_frame import World
from tests.observe.test_status import Steps

ROOT = Path(__file__).parents[2]
ALTERNATE, BACK, CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


def drawn(frame, width: int, height: int | None = None) -> list[str]:
    out = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115 - closed with the test
    out.print(draw(frame, width, height))
    out.file.close()
    return out.export_text().splitlines()


def test_once_shows_a_closed_store(cli, store: Path) -> None:
    done = cli("top", store, "--once")
    assert done.code == 0
    assert "closed" in done.out
    assert "leveled" in done.out
    assert "close" in done.out
    assert "\x1b" not in done.out


def test_every_look_is_one_json_line(cli, store: Path) -> None:
    done = cli("top", store, "--json", "--count", "3", "--interval", "0.1")
    frames = [json.loads(line) for line in done.out.splitlines()]
    assert len(frames) == 3
    assert {frame["state"] for frame in frames} == {"closed"}
    assert sum(level["entries"] for level in frames[0]["levels"]) == frames[0]["entries"]
    assert frames[0]["at_s"] < frames[2]["at_s"]
    assert cli("top", store, "--once", "--json").out.count("\n") == 1


def test_without_a_terminal_frames_follow_each_other(cli, store: Path) -> None:
    shown = cli("top", store, "--count", "2", "--interval", "0.1").out
    assert shown.count("closed") == 2
    assert all(len(line.rstrip()) <= 100 for line in shown.splitlines())


def test_a_store_that_is_not_there_is_waited_for_unless_once(cli, tmp_path: Path) -> None:
    assert "no store at" in cli("top", tmp_path / "later", "--count", "1").out
    done = cli("top", tmp_path / "later", "--once")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1


def test_a_file_is_refused(cli, store: Path) -> None:
    done = cli("top", store / "MANIFEST")
    assert done.code == 2
    assert "is a file" in done.err


def test_damage_is_shown_and_is_exit_code_2_for_scripts(cli, store: Path) -> None:
    data = bytearray((store / "MANIFEST").read_bytes())
    data[40] ^= 0xFF
    (store / "MANIFEST").write_bytes(data)
    assert "damaged" in cli("top", store, "--count", "1").out
    assert cli("top", store, "--once").code == 2
    assert cli("top", store, "--once", "--json").json["error"]["message"]


def test_a_live_store_of_this_process_is_seen_open(cli, tmp_path: Path) -> None:
    with lsmkv.open(str(tmp_path / "s"), lsmkv.Options(status_interval_s=0.05)) as db:
        db.put(b"k", b"v")
        deadline = time.monotonic() + 20
        frame = {}
        while frame.get("state") != "open" and time.monotonic() < deadline:
            frame = cli("top", tmp_path / "s", "--once", "--json").json
        assert frame["state"] == "open"
        assert frame["memory"]["memtable_bytes"] > 0
        assert f"process {os.getpid()}" in frame["about"]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("height", [12, 24, 50])
def test_a_frame_fits_its_terminal(monkeypatch: pytest.MonkeyPatch, width: int, height: int) -> None:
    world = World(monkeypatch, max_immutables=1)
    for start in range(0, 1200, 300):
        world.write(start, start + 300)
        world.clock.advance(1)
        world.tell()
        world.frame()
    world.db.set_policy(lsmkv.Leveled(size_ratio=4))
    world.clock.advance(1)
    world.tell()
    lines = drawn(world.frame(), width, height)
    assert all(len(line) <= width for line in lines)
    assert height < 24 or len(lines) <= height
    text = "\n".join(lines)
    assert all(word in text for word in ("writes/s", "memtable", "stalls", "debt", "level"))
    if width >= 80:
        assert "…" not in "\n".join(line for line in lines if line.startswith(("calls", "level", "    ", "disk")))


def test_a_stalled_writer_is_seen_to_be_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_immutables=1)
    for i in range(400):
        world.db.put(b"%05d" % i, bytes(100))
        if world.db.stats().immutable_memtables:
            break
    world.clock.advance(1)
    world.tell()
    assert any("wait for their flush" in line for line in drawn(world.frame(), 120))


def test_a_writer_that_is_slowed_down_is_seen_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Steps, "manual", False)  # it runs nothing by itself, and a store takes it for one that does
    world = World(monkeypatch, level0_slowdown_runs=3)
    for i in range(4):
        world.db.put(b"%05d" % i, bytes(2 << 20))
        world.db.flush()
    world.clock.advance(1)
    world.tell()
    frame = world.frame()
    assert frame.rates.slowed_share > frame.rates.stalled_share == 0
    assert [(wait.reason, wait.count) for wait in frame.slowdowns] == [("level0", 1)]
    lines = [line for line in drawn(frame, 120) if line.startswith("slowed")]
    assert "level0 1 (" in lines[0]
    assert "now: level 0 holds 4 runs (slower from 3, limit 24)" in lines[0]


def test_a_missing_store_has_a_frame(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    assert drawn(Watcher(PosixFileSystem(), path, ManualClock()).frame(), 80 + 2 * len(path)) == [f"{path}  no store at {path}"]


class Slow(ManualClock):
    """A second passes with every look at it, and it does not sleep backwards, as the machine's does not."""

    def monotonic(self) -> float:
        self.advance(1.0)
        return super().monotonic()

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        super().sleep(seconds)


@pytest.mark.parametrize("interval_s", [0.1, 1.0, 5.0])
def test_a_look_that_takes_longer_than_the_interval_is_followed_by_the_next(store: Path, interval_s: float) -> None:
    """Bug: ``top`` ended with a traceback on a busy machine: it wanted to sleep a negative time."""
    clock = Slow()
    assert len(list(frames(Watcher(PosixFileSystem(), str(store), ManualClock()), interval_s, 4, clock))) == 4
    assert len(clock.slept) == 3


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_terminal_is_given_back(store: Path, ending: signal.Signals) -> None:
    ours, theirs = pty.openpty()
    code = (  # SIGINT is ignored where tests run in the background
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom lsmkv.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "top", str(store), "--interval", "0.1"]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "90", "LINES": "30"}
    process = subprocess.Popen(  # a session of its own: no signal but this test's reaches it
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment, start_new_session=True
    )
    os.close(theirs)
    seen = b""
    try:
        while b"closed" not in seen:
            seen += os.read(ours, 65536)
        process.send_signal(ending)
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not more:
                break
            seen += more
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert seen.count(ALTERNATE) == seen.count(BACK) == 1
    assert CURSOR in seen[seen.rindex(b"closed") :]
    assert b"Traceback" not in seen


def test_a_closed_pipe_is_no_traceback(store: Path) -> None:
    command = f"{sys.executable} -m lsmkv.cli top {store} --json --interval 0.1 | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
