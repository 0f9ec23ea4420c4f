"""A second Python process of our own, for work that would hold the interpreter lock here.

It is started by ``exec`` (nothing of this process is in it but two descriptors), in a session of its own, so that a terminal's
Ctrl-C does not reach it. It ends when the socket to its parent is closed, and when it has lost that parent whoever holds the
socket: it never outlives it by more than the work at hand. It is handed open files and makes none: what it does after its
parent's death reaches no name.

Both sides talk through a :class:`Channel`. What is large goes through a :class:`Memory`, a file without a name that both have.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from lsmkv.env.fs import Buffer
from lsmkv.env.posix import absolute

__all__ = ["Channel", "HelperProcess", "Memory"]

_LENGTH: Final = struct.Struct("<I")

_BOOT: Final = (
    "import sys, importlib; _, name, descriptor, memory, *sys.path = sys.argv; "
    "importlib.import_module(name).main(int(descriptor), int(memory))"
)
"""The path of imports comes last: as PYTHONPATH it would count while Python starts, where that of a script does not."""

_QUIET: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""NumPy's libraries start no threads there: nothing of what is done needs them, and each takes memory."""

END_S: Final = 5.0
"""Seconds to wait for a process that was killed: the kernel may be finishing a write of it."""


PATIENCE_S: Final = 20.0
"""Seconds that a message may take from its first byte to its last."""


LOOK_S: Final = 1.0
"""How often the process looks whether its parent is there: a fork of that may hold the socket open."""


class Channel:
    """Objects and open files, one after the other, to and from the other process. One thread at a time."""

    def __init__(self, end: socket.socket, patience_s: float | None = None) -> None:
        """``patience_s``: who has begun to speak may pause so long (None: for ever), then counts as gone."""
        end.settimeout(patience_s)
        self._socket = end
        self._parent = os.getppid()
        self._ready = select.poll()
        self._ready.register(end, select.POLLIN)

    @classmethod
    def of(cls, descriptor: int) -> Channel:
        """That over an inherited descriptor."""
        return cls(socket.socket(fileno=descriptor))

    def send(self, what: object) -> None:
        """Send an object; OSError if nobody is there."""
        data = pickle.dumps(what, protocol=pickle.HIGHEST_PROTOCOL)
        self._socket.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self, timeout_s: float | None = None) -> object:
        """The next object; TimeoutError if none begins to arrive in time, EOFError once the other side is gone."""
        if timeout_s is not None and not self._ready.poll(timeout_s * 1e3):
            raise TimeoutError
        (size,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        return pickle.loads(self._exactly(size))  # noqa: S301 - from a process of our own, over a socket that nobody else has

    def hear(self) -> object:
        """The next object from the process that started this one; EOFError once that is gone, whoever has its end by now."""
        while True:
            try:
                return self.receive(LOOK_S)
            except TimeoutError as error:
                if os.getppid() != self._parent:
                    raise EOFError from error

    def _exactly(self, size: int) -> bytes:
        """So many bytes; EOFError if they do not come."""
        parts: list[bytes] = []
        while size:
            try:
                part = self._socket.recv(size)
            except (ConnectionError, TimeoutError) as error:
                raise EOFError from error
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def send_file(self, descriptor: int) -> None:
        """Let the other side have an open file, too."""
        socket.send_fds(self._socket, [b"f"], [descriptor])

    def receive_file(self) -> int:
        """The file that was sent: a descriptor of our own; EOFError if none comes."""
        data, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1)
        if not data or not descriptors:
            raise EOFError
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]

    def close(self) -> None:
        """Close this end; the other one hears of it. A second call does nothing."""
        self._socket.close()


class Memory:
    """A file without a name, in memory: one process writes it, the other reads."""

    def __init__(self, descriptor: int) -> None:
        """Use, and from now on own, an open file."""
        self._descriptor = descriptor

    def write(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Write the buffers one after the other; the offset behind them. OSError when memory runs out."""
        for buffer in buffers:
            rest = memoryview(buffer).cast("B")
            while len(rest):
                written = os.pwrite(self._descriptor, rest, offset)
                offset += written
                rest = rest[written:]
        return offset

    def read(self, size: int, offset: int) -> bytes:
        """So many bytes, copied with the interpreter lock released; EOFError if they are not there."""
        data = os.pread(self._descriptor, size, offset)
        if len(data) != size:
            raise EOFError
        return data

    def clear(self) -> None:
        """Let go of what was written."""
        os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Close it; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class HelperProcess:
    """A process that runs ``main(socket, memory)`` of a module, both descriptors; it is killed when this object goes.

    OSError if it cannot be started: no such rights, no processes or descriptors left, or this program is no Python interpreter.
    Anything else where a program has changed how processes and sockets are made.
    """

    def __init__(self, module: str) -> None:
        if not sys.executable or getattr(sys, "frozen", False):
            raise OSError(f"{sys.executable or 'this program'} is no Python interpreter that could be started again")
        ours, theirs = socket.socketpair()
        memory = -1
        try:
            channel = Channel(ours, PATIENCE_S)
            memory = os.memfd_create("lsmkv-helper")
            command = [sys.executable, "-P", "-c", _BOOT, module, str(theirs.fileno()), str(memory), *_import_path()]
            process = subprocess.Popen(  # noqa: S603 - this interpreter, with arguments of ours
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), memory),
                start_new_session=True,
                env=os.environ | _QUIET,
            )
        except BaseException:
            ours.close()
            if memory >= 0:
                os.close(memory)
            raise
        finally:
            theirs.close()
        self.pid = process.pid
        self.channel = channel
        self.memory = Memory(memory)
        self._finalizer = weakref.finalize(self, _end, process, self.channel, self.memory, os.getpid())

    def end(self) -> None:
        """Kill it, wait for its end, and close what was shared. A second call does nothing."""
        self._finalizer()

    def forked(self) -> None:
        """In a forked child: close what was shared; the process belongs to the parent."""
        self._finalizer()


def _import_path() -> list[str]:
    """Where this process imports from, whatever the working directory; what is no name of a place counts for nobody."""
    return [absolute(place) for place in sys.path if isinstance(place, str)]


def _end(process: subprocess.Popen[bytes], channel: Channel, memory: Memory, owner: int) -> None:
    """Kill a process, unless it is not that of this one."""
    channel.close()
    memory.close()
    if os.getpid() != owner:
        process.returncode = 0  # nothing to wait for here
        return
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
