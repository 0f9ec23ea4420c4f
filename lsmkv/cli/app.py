"""Putting the command together: the engine's commands, then whatever installed packages add."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Annotated

import typer

from lsmkv.cli import calibrate, commands, controller, delete, engine, explain, lab, laboratory, load, policy, read, repair, top
from lsmkv.cli.tools import Tools
from lsmkv.env.posix import PosixFileSystem
from lsmkv.observe.readonly import ReadOnly

__all__ = ["GROUP", "build", "build_tools"]

GROUP = "lsmkv.commands"
"""Entry-point group of functions that take a :class:`~lsmkv.cli.tools.Tools`."""


def build() -> typer.Typer:
    """The whole command."""
    return build_tools().app


def build_tools() -> Tools:
    """The whole command and what it knows."""
    app = typer.Typer(
        name="lsmkv",
        help="Look into, check, copy and repair lsmkv stores. Everything but `checkpoint`, `repair`, `set-policy`, `load`, "
        "`delete-range`, `calibrate`, `namespaces drop`, `import` and `demo` only reads, takes no lock and works beside a live "
        "writer.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    tools = Tools(app, ReadOnly(PosixFileSystem()))

    @app.callback()
    def root(
        ctx: typer.Context,
        version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
    ) -> None:
        """Look into, check and copy lsmkv stores."""
        del version
        ctx.obj = tools

    engine.register(tools)
    commands.register(tools)
    read.register(tools)
    lab.register(tools)
    laboratory.register(tools)
    policy.register(tools)
    explain.register(tools)
    calibrate.register(tools)
    controller.register(tools)
    top.register(tools)
    repair.register(tools)
    load.register(tools)
    delete.register(tools)
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        point.load()(tools)
    return tools


def _version(asked: bool) -> None:
    """Show the version and leave."""
    if asked:
        try:
            number = version("lsmkv")
        except PackageNotFoundError:
            number = "(not installed: run from its source)"
        typer.echo(f"lsmkv {number}")
        raise typer.Exit
