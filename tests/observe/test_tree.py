"""The picture in a terminal: the same facts as the text, in colour."""

from __future__ import annotations

import io

from rich.console import Console

from lsmkv.observe.tree import render_tree
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape


def shown(shape: TreeShape, *, colour: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, width=140, force_terminal=colour, color_system="truecolor" if colour else None)
    console.print(render_tree(shape, {"name": "leveled", "size_ratio": 4}, title="here"))
    return out.getvalue()


def test_levels_and_runs_are_drawn() -> None:
    table = TableMeta(1, 5000, 100, 3, b"a", b"z", 1, 100, filter_bits=1000)
    text = shown(TreeShape((Level(), Level((Run(1, (table,)),))), buffer_entries=100), colour=False)
    assert "here: 100 entries in 1 tables, 4.9 KiB; leveled (size_ratio 4)" in text
    assert "33%" in text
    assert "0 of 4" in text
    assert "100 entries, 1 table" in text


def test_colours_are_used_on_a_terminal_only() -> None:
    assert "\x1b[" in shown(TreeShape(), colour=True)
    assert "\x1b[" not in shown(TreeShape(), colour=False)
