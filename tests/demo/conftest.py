"""The demo as a command of its own, with its random model and a short prompt."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where tests run in the background
    "import typer; from lsmkv_tensor.cli.demo import demo; typer.run(demo)"
)
SHORT = ["--model", "random", "--tokens", "300", "--threads", "1"]


class Command(subprocess.Popen):
    """A running command."""

    def until(self, text):
        """Read its output up to the line that has ``text``."""
        for line in self.stdout:
            if text in line:
                return
        raise AssertionError(self.stderr.read())


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start the command in a directory of its own; whatever still runs at the end is killed."""
    started = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "160")

    def begin(*arguments):
        process = Command(
            [sys.executable, "-c", COMMAND, *SHORT, "--path", str(tmp_path / "demo"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()
