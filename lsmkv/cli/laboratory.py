"""``lsmkv lab``: the laboratory's commands, a group of their own. Each lives in a module beside this one.

A command is a function with typer's annotations, added to :data:`COMMANDS`; it reads ``ctx.obj`` for the :class:`Tools`.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from lsmkv.cli.lab_ablate import ablate
from lsmkv.cli.lab_curves import curves
from lsmkv.cli.lab_phases import phases
from lsmkv.cli.lab_validate import validate
from lsmkv.cli.lab_workloads import workloads
from lsmkv.cli.tools import Tools

__all__ = ["COMMANDS", "register"]

COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("workloads", workloads),
    ("ablate", ablate),
    ("validate", validate),
    ("curves", curves),
    ("phases", phases),
)
"""Names and functions, in the order in which ``--help`` lists them."""


def register(tools: Tools) -> None:
    """Add the group."""
    group = typer.Typer(name="lab", help="Predict, measure, compare: experiments with the engine.", no_args_is_help=True)
    for name, command in COMMANDS:
        group.command(name)(command)
    tools.app.add_typer(group, name="lab")
