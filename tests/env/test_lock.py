"""One writer per directory: a second one is refused, a dead one is no obstacle, a fork changes nothing."""

import os
import subprocess
import sys

import pytest

from lsmkv.env import PosixFileSystem
from lsmkv.errors import LockedError

TAKE_AND_WAIT = """
import sys
from lsmkv.env import PosixFileSystem
lock = PosixFileSystem().lock(sys.argv[1])
print("locked", flush=True)
sys.stdin.readline()
"""

FORK = """
import os, sys
from lsmkv.env import PosixFileSystem
from lsmkv.errors import LockedError
fs = PosixFileSystem()
lock = fs.lock(sys.argv[1])
if not os.fork():
    try:
        fs.lock(sys.argv[1])
    except LockedError:
        lock.release()
        os._exit(7)
    os._exit(0)
_, status = os.wait()
print(os.waitstatus_to_exitcode(status), flush=True)
sys.stdin.readline()
"""

FORK_AND_LIVE_ON = """
import os, sys
from lsmkv.env import PosixFileSystem
lock = PosixFileSystem().lock(sys.argv[1])
if not os.fork():
    print(os.getpid(), flush=True)
sys.stdin.readline()
"""


def run(code, path):
    return subprocess.Popen(
        [sys.executable, "-c", code, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "LOCK")


@pytest.fixture
def fs():
    return PosixFileSystem()


def test_second_lock_of_this_process_is_refused_and_says_so(fs, path, tmp_path):
    lock = fs.lock(path)
    with pytest.raises(LockedError, match=f"this process \\({os.getpid()}\\)") as caught:
        fs.lock(path)
    assert caught.value.path == str(tmp_path)
    lock.release()
    lock.release()
    fs.lock(path).release()


def test_same_file_by_another_name_is_the_same_lock(fs, path, tmp_path):
    lock = fs.lock(path)
    (tmp_path / "alias").symlink_to(tmp_path)
    with pytest.raises(LockedError):
        fs.lock(str(tmp_path / "alias" / "LOCK"))
    lock.release()


def test_releasing_twice_does_not_release_the_next_owner(fs, path):
    first = fs.lock(path)
    first.release()
    second = fs.lock(path)
    first.release()
    with pytest.raises(LockedError):
        fs.lock(path)
    second.release()


def test_another_process_is_refused_by_name_and_its_death_frees_the_lock(fs, path):
    with run(TAKE_AND_WAIT, path) as owner:
        assert owner.stdout.readline() == "locked\n"
        with pytest.raises(LockedError, match=f"process {owner.pid} on ") as caught:
            fs.lock(path)
        assert "another boot" not in caught.value.owner
        owner.kill()
        owner.wait()
        fs.lock(path).release()


def test_the_message_says_what_to_do(fs, path, tmp_path):
    lock = fs.lock(path)
    with pytest.raises(LockedError) as caught:
        fs.lock(path)
    who = f"this process ({os.getpid()})"
    assert str(caught.value) == (
        f"{tmp_path} is already open for writing by {who}: "
        "a directory has one writer at a time; lsmkv.open(path, read_only=True) reads it meanwhile"
    )
    lock.release()


def test_a_dead_process_is_not_blamed(fs, path, tmp_path):
    """The holder could not write its name (a full disk, say), so the file still names one that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with run(TAKE_AND_WAIT, path) as owner:
        assert owner.stdout.readline() == "locked\n"
        text = (tmp_path / "LOCK").read_text()
        (tmp_path / "LOCK").write_text(text.replace(f"pid {owner.pid}\n", f"pid {ended.pid}\n"))
        with pytest.raises(LockedError, match="did not leave its name") as caught:
            fs.lock(path)
        assert f"process {ended.pid} on " in caught.value.owner
        assert "has ended" in caught.value.owner
        owner.kill()


def test_process_started_while_locked_does_not_inherit_the_lock(fs, path):
    lock = fs.lock(path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as other:
        lock.release()
        fs.lock(path).release()
        other.kill()


def test_forked_child_is_refused_and_cannot_release_its_parents_lock(fs, path):
    with run(FORK, path) as owner:
        assert owner.stdout.readline() == "7\n"
        with pytest.raises(LockedError):
            fs.lock(path)
        owner.communicate("\n")
    fs.lock(path).release()


def test_forked_child_does_not_hold_the_lock_after_its_parents_death(fs, path):
    with run(FORK_AND_LIVE_ON, path) as owner:
        child = int(owner.stdout.readline())
        owner.kill()
        owner.wait()
        fs.lock(path).release()
        os.kill(child, 9)


def test_lock_file_replaced_behind_our_back_is_not_locked_by_its_old_self(fs, path):
    old = fs.lock(path)
    os.unlink(path)
    new = fs.lock(path)
    with pytest.raises(LockedError):
        fs.lock(path)
    old.release()
    with pytest.raises(LockedError):
        fs.lock(path)
    new.release()


@pytest.mark.parametrize("text", [b"", b"\xff\xfe nonsense", b"pid 12\n", b"pid 12\nhost far\nboot elsewhere\n"])
def test_whatever_stands_in_a_free_lock_file_is_no_obstacle_and_a_held_one_is_described(fs, path, text):
    with open(path, "wb") as file:
        file.write(text)
    fs.lock(path).release()
    with run(TAKE_AND_WAIT, path) as owner:
        owner.stdout.readline()
        with open(path, "wb") as file:
            file.write(text)
        with pytest.raises(LockedError) as caught:
            fs.lock(path)
        assert caught.value.owner.startswith("process 12") == (b"pid" in text)
        assert ("another boot" in caught.value.owner) == (b"boot" in text)
        owner.communicate("\n")


def test_lock_in_a_missing_directory_is_an_os_error(fs, tmp_path):
    with pytest.raises(FileNotFoundError):
        fs.lock(str(tmp_path / "nowhere" / "LOCK"))
