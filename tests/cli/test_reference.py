"""docs/cli.md is what the command says of itself."""

from __future__ import annotations

from pathlib import Path

from lsmkv.cli.reference import reference
from lsmkv.cli.tools import Tools

PAGE = Path(__file__).parents[2] / "docs/cli.md"


def test_the_reference_is_in_step_with_the_command(command: Tools) -> None:
    assert PAGE.read_text() == reference(command), "run `make docs`"
