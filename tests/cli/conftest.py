"""A store to look at, and the command in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import lsmkv
from lsmkv.cli.app import GROUP, build_tools
from lsmkv.cli.tools import Tools
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv_tensor.cli import register


@cache
def all_tools() -> Tools:
    """The command with everything that the project adds to it, also when the project is not installed."""
    tools = build_tools()
    if not entry_points(group=GROUP):
        register(tools)
    return tools


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*arguments: object) -> Outcome:
    result = CliRunner().invoke(all_tools().app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def cli() -> Callable[..., Outcome]:
    return run


@pytest.fixture(scope="session")
def command() -> Tools:
    return all_tools()


def fill(db: lsmkv.DB, n: int = 3000) -> None:
    for start in range(0, n, 300):
        db.put_many((f"key-{i * 7919 % n:05d}".encode(), b"v" * (i % 50)) for i in range(start, start + 300))
    db.delete_many(f"key-{i:05d}".encode() for i in range(0, n, 10))


def options() -> lsmkv.Options:
    return lsmkv.Options(memtable_bytes=32 << 10, table_bytes=16 << 10, level0_runs=2, scheduler=ManualScheduler())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Some levels of tables, cleanly closed."""
    path = tmp_path / "store"
    with lsmkv.open(str(path), options()) as db:
        fill(db)
        db.settle()
    return path
