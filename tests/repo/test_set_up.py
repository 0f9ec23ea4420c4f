"""What a newcomer's machine is told: the make targets, the pinned versions, the workflow."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = re.compile(r"[A-Za-z0-9_.-]+")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9.]+", line) for line in lines), "one exact public version a line"
    return {normal(name): version for name, _, version in (line.partition("==") for line in lines)}


def test_every_dependency_is_pinned() -> None:
    wanted = [*PROJECT["dependencies"], *(d for extra in PROJECT["optional-dependencies"].values() for d in extra)]
    names = {normal(NAME.match(d).group()) for d in wanted} - {"lsmkv"}  # type: ignore[union-attr] # they all begin with a name
    assert names <= set(pins())


def test_torch_is_pinned_without_a_local_version() -> None:
    assert pins()["torch"] == "2.13.0"


@pytest.mark.parametrize("extra", ["sglang", "vllm", "lmcache", "transformers"])
def test_engine_extras_do_not_pull_the_engine(extra: str) -> None:
    assert not any(normal(d).startswith(extra) for d in PROJECT["optional-dependencies"][extra])


def test_the_workflow_covers_every_python_we_claim() -> None:
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    claimed = [c.rsplit(" ", 1)[1] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert claimed
    assert all(f'"{version}"' in workflow for version in claimed)
    assert "bash .ci/run" in workflow


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench", "lessons", "notebooks", "docs"])
def test_make_knows_the_target_and_sets_up_by_itself(target: str) -> None:
    rule = re.search(rf"^{target}:(.*)##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rule is not None
    assert "$(VENV)/.set-" in rule.group(1)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_lists_the_targets() -> None:
    shown = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"make {target}" in shown for target in ("demo", "test", "check", "bench"))


def test_ci_stops_at_the_first_failure() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert "set -euo pipefail" in script
    assert "make check" in script
    assert "make test" in script


def test_the_licence_is_the_whole_one() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["license"] == "Apache-2.0"


def test_every_dependency_has_its_reason_written_down() -> None:
    page = (ROOT / "docs/dependencies.md").read_text().lower()
    wanted = [*PROJECT["dependencies"], *(d for extra in PROJECT["optional-dependencies"].values() for d in extra)]
    names = {normal(NAME.match(d).group()) for d in wanted} - {"lsmkv"}  # type: ignore[union-attr] # they all begin with a name
    assert {name for name in names if f"`{name}`" not in page} == set()
