"""docs/policies: pictures and table are what the simulator makes, the example runs."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

import lsmkv
from lsmkv.cli.app import build
from lsmkv.lab.writes import Writes
from lsmkv.version.rules import problems

from .conftest import Pair, batches

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "policies").glob("*.md"))


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = loaded
    spec.loader.exec_module(loaded)
    return loaded


pictures = module(DOCS / "policy_pictures.py")
counter = module(DOCS / "policies/binary_counter.py")


@pytest.mark.parametrize("name", sorted(pictures.PICTURES))
def test_pictures_are_made_by_the_simulator(name: str) -> None:
    assert (DOCS / f"policies/{name}.svg").read_text() == pictures.picture(name), "run `make docs`"


def test_the_table_is_made_by_the_simulator() -> None:
    assert pictures.table() in (DOCS / "policies/README.md").read_text(), "run `make docs`"


def test_pictures_are_small() -> None:
    for file in (DOCS / "policies").iterdir():
        assert file.stat().st_size <= 100_000, file.name


def test_the_custom_policy_of_the_page_is_the_file_beside_it_and_short() -> None:
    source = (DOCS / "policies/binary_counter.py").read_text()
    assert source in (DOCS / "policies/custom.md").read_text()
    body = source[source.index("class ") :]
    assert len([line for line in body.splitlines() if line.strip() and '"""' not in line]) <= 20


def test_the_custom_policy_does_the_same_in_simulator_and_engine_and_counts_in_binary() -> None:
    pair = Pair(counter.BinaryCounter())
    for batch in batches(Writes(entries=3_200, memtable=50)):
        pair.feed(batch)
    assert problems(pair.tree.shape) == ()
    arrivals = [run.entries // 100 for run in reversed(pair.tree.shape.levels[1].runs)]
    assert sum(arrivals) == 32
    assert arrivals == [32]
    deleting = Pair(counter.BinaryCounter(ratio=3.0))
    assert sum(deleting.feed(batch) for batch in batches(Writes(entries=3_000, memtable=50, overwrites=0.3, deletes=0.2))) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_exist(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCS / "policies")
    for line in re.findall(r"(?m)^    lsmkv (simulate .*)$", page.read_text()):
        words = line.partition("#")[0].split()
        if "--events" in words:
            continue
        if "--html" in words:
            at = words.index("--html")
            del words[at : at + 2]
        if "--switch-at" in words:  # in the shorter run, too
            at = words.index("--switch-at") + 1
            words[at] = "1e4:" + words[at].partition(":")[2]
        few = [*words, "--entries", "2e4", "--memtable", "500", "--quiet"]
        told = CliRunner().invoke(build(), few)
        assert told.exit_code == 0, (line, told.output)


def test_the_python_of_the_index_runs() -> None:
    for block in re.findall(r"```python\n(.*?)```", (DOCS / "policies/README.md").read_text(), re.DOTALL):
        names: dict[str, object] = {}
        exec(block, names)
        assert isinstance(names["done"], lsmkv.lab.Simulation)
