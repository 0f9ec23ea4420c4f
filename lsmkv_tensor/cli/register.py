"""The entry point ``lsmkv.commands``: page stores for every command, and ``lsmkv demo``."""

from __future__ import annotations

from posixpath import basename, join
from typing import Any

from lsmkv.cli.tools import FileKind, StoreKind, Tools
from lsmkv_tensor.cli.demo import demo
from lsmkv_tensor.cli.doctor import doctor
from lsmkv_tensor.cli.dump_files import dump_segment, dump_stamp, is_segment
from lsmkv_tensor.cli.liveness import recount
from lsmkv_tensor.cli.members import ROOT
from lsmkv_tensor.cli.namespaces import namespaces
from lsmkv_tensor.cli.packs import export, import_
from lsmkv_tensor.cli.size import size
from lsmkv_tensor.cli.survey import report
from lsmkv_tensor.cli.trace import trace
from lsmkv_tensor.cli.verify_store import verify
from lsmkv_tensor.cli.warm import warm
from lsmkv_tensor.vlog.stamp import read_stamp

__all__ = ["register"]


def register(tools: Tools) -> None:
    """Add everything."""
    commands: tuple[tuple[str, Any], ...] = (
        ("demo", demo),
        ("doctor", doctor),
        ("namespaces", namespaces),
        ("export", export),
        ("import", import_),
        ("size", size),
        ("warm", warm),
    )
    for name, command in commands:
        tools.app.command(name)(command)
    tools.app.add_typer(trace, name="trace")
    tools.files += [
        FileKind("segment", is_segment, dump_segment),
        FileKind("stamp", lambda _, path: basename(path) == "STORE", dump_stamp),
    ]
    tools.stores.append(
        StoreKind(
            name="page store",
            matches=lambda fs, path: read_stamp(fs, path) is not None,
            engine_path=lambda path: join(path, "index"),
            report=report,
            verify=verify,
            checkpoint=None,
            recount=recount,
        )
    )
    tools.stores.append(ROOT)
