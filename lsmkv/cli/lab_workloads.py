"""``lsmkv lab workloads``: those that come along, and one of them, or a file's, checked and shown as YAML."""

from __future__ import annotations

from typing import Annotated

import typer

from lsmkv.cli.lab_output import show, table_of
from lsmkv.cli.output import emit_json, guard
from lsmkv.lab.named import NAMED
from lsmkv.lab.workload import Phase
from lsmkv.lab.workload_yaml import find_workload, workload_yaml

__all__ = ["workloads"]

Name = Annotated[str | None, typer.Argument(metavar="NAME|FILE", help="One to check and show; none: list what comes along.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]


def workloads(name: Name = None, as_json: Json = False) -> None:
    """List the workloads that come along; check and show one, by name or file, as YAML to start from."""
    with guard(as_json=as_json):
        if name is not None:
            workload = find_workload(name)
            if as_json:
                emit_json(workload.to_dict())
            else:
                typer.echo(workload_yaml(workload), nl=False)
        elif as_json:
            emit_json([workload.to_dict() for workload in NAMED.values()])
        else:
            table = table_of(("name", "load", "operations", "mix", "keys"), ("name", "mix", "keys"))
            for one in NAMED.values():
                mixes = "; ".join(map(_shown, one.phases))
                table.add_row(one.name, f"{one.load:,}", f"{one.operations:,}", mixes, one.phases[0].keys)
            show(table)


def _shown(phase: Phase) -> str:
    """A mix in short."""
    return ", ".join(f"{name} {share:g}" for name, share in phase.mix.shares().items() if share)
