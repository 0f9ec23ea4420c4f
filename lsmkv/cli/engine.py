"""What the command knows about the engine's own files and directories."""

from __future__ import annotations

from lsmkv.cli.chosen import search_here
from lsmkv.cli.tools import FileKind, Record, StoreKind, Tools
from lsmkv.db import open as open_store
from lsmkv.env.fs import FileSystem
from lsmkv.observe.dump import dump_table, is_table
from lsmkv.observe.dump_framed import dump_log, dump_manifest, is_log, is_manifest
from lsmkv.observe.files import is_store
from lsmkv.observe.report import survey
from lsmkv.observe.verify import VerifyReport, verify
from lsmkv.options import Options

__all__ = ["register"]


def register(tools: Tools) -> None:
    """Add the engine's kinds."""
    tools.files += [
        FileKind("table", is_table, dump_table),
        FileKind("log", is_log, dump_log),
        FileKind("manifest", is_manifest, dump_manifest),
    ]
    tools.stores.append(StoreKind("engine", is_store, str, _report, _verify, _checkpoint))


def _report(fs: FileSystem, path: str) -> Record:
    """What ``stats`` says."""
    return survey(path, fs).to_dict()


def _verify(fs: FileSystem, path: str) -> VerifyReport:
    """What ``verify`` says."""
    return verify(path, fs)


def _checkpoint(path: str, dest: str) -> None:
    """Open the store and have it copy itself."""
    search_here()  # its policy may be one of the user's own
    with open_store(path, Options(create=False)) as db:
        db.checkpoint(dest)
