"""How a simulation looks in the terminal: a line a step, the whole tree where it changes its depth and at the end."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from lsmkv.lab.drawing import bar_lines, glyphs, heading, what_happened
from lsmkv.lab.rows import Levels, Row, Simulation
from lsmkv.observe.picture import human_bytes
from lsmkv.observe.tree import COLOURS

__all__ = ["Story"]

TREE_CELLS = 30
BAR_CELLS = 56
LINES = 100
"""About how many lines a long simulation prints when not told to print all."""


class Story:
    """Tells rows as they come."""

    def __init__(
        self, out: Console, *, smallest: int, largest: int, every: int = 1, flushes: bool = False, trees: bool = False
    ) -> None:
        """``smallest`` and ``largest``: entries of the lowest and the highest bar. Of the tasks each ``every``-th is told."""
        self._out = out
        self._scale = smallest, largest
        self._every = every
        self._flushes = flushes
        self._trees = trees
        self._tasks = 0
        self._depth = 0
        self._drawn = 0

    def begin(self) -> None:
        """The names of the columns."""
        if self._every > 1:
            self._out.print(f"(one task in {self._every} is shown; --all shows every step)", style="dim")
        columns = f"{'writes':>12}  {'step':<16}{'tree: runs by level, newest first':<{TREE_CELLS + 6}}"
        self._out.print(Text(f"{columns}{'copies':>7}{'space':>7}{'runs':>6}{'blocks':>8}  why", style="bold"))

    def tell(self, row: Row) -> None:
        """One step, if it is to be told."""
        deeper = row.depth > self._depth
        self._depth = max(self._depth, row.depth)
        if row.kind == "flush" and not self._flushes:
            return
        if row.kind == "compaction":
            self._tasks += 1
            if self._tasks % self._every and not deeper:
                return
        narrow = self._out.is_terminal
        self._out.print(self.line(row), no_wrap=True, overflow="ellipsis" if narrow else "ignore", crop=narrow)
        if self._trees or row.kind == "switch" or (deeper and row.depth > 2):
            self.tree(row)

    def line(self, row: Row) -> Text:
        """One step as one line."""
        space = f"{row.space_amplification:.2f}" if row.space_amplification is not None else "-"
        blocks = f"{row.zero_lookup_blocks:.3f}" if row.zero_lookup_blocks is not None else "-"
        text = Text(f"{row.writes:>12,}  ")
        text.append(f"{what_happened(row):<16}", style=_STYLES.get(row.task or row.kind, ""))
        text.append_text(self._small(row.levels))
        text.append(f"{row.update_copies:>7.2f}{space:>7}{row.runs:>6}{blocks:>8}")
        text.append(f"  {row.reason}", style="dim")
        return text

    def _small(self, levels: Levels) -> Text:
        """All levels in TREE_CELLS + 6 characters."""
        text = Text()
        for number, level in enumerate(levels):
            text.append("│" if number else "", style="dim")
            text.append(glyphs([run.entries for run in level], *self._scale), style=_colour(number))
        text.pad_right(max(0, TREE_CELLS + 6 - text.cell_len))
        return text

    def tree(self, row: Row) -> None:
        """The tree after a step: a bar a run, bar length = bytes."""
        if self._drawn == row.step:
            return
        self._drawn = row.step
        self._out.print()
        self._out.print(Text(f"  {heading(row)}", style="bold"))
        for number, bars, note in bar_lines(row.levels, BAR_CELLS):
            line = Text(f"  level {number}  ", style=_colour(number))
            line.append(bars or "·")
            if len(bars) < BAR_CELLS:
                line.append(" " * (BAR_CELLS - max(len(bars), 1)))
            line.append(f"  {note}", style="dim" if not bars else "default")
            self._out.print(line, no_wrap=True, overflow="ignore", crop=False)
        self._out.print()

    def end(self, simulation: Simulation) -> None:
        """The last tree and the totals."""
        if not simulation.rows:
            self._out.print("nothing had reached the tree yet")
            return
        row, total = simulation.last, simulation.summary()
        self.tree(row)
        nouns = {"flushes": "flush", "merges": "merge", "moves": "move", "drops": "drop", "switches": "switch"}
        counts = ", ".join(f"{total[name]:,} {noun if total[name] == 1 else name}" for name, noun in nouns.items() if total[name])
        written = sum(r.written_bytes for r in simulation.rows)
        self._out.print(f"  {counts}; {human_bytes(written)} written")
        for name, value, meaning in _totals(row):
            self._out.print(f"  {name:<21} {value:>8}   [dim]{meaning}[/dim]", highlight=False)
        if not simulation.complete:
            share = row.writes / simulation.load.entries
            words = f"  interrupted after {share:.0%} of the writes: this is what there was by then"
            self._out.print(Text(words, style="bold red"))


def _totals(row: Row) -> Sequence[tuple[str, str, str]]:
    """Name, value and meaning of each amplification."""
    space = f"{row.space_amplification:.3f}" if row.space_amplification is not None else "-"
    live = f"{row.live_entries:,}" if row.live_entries is not None else "unknown"
    blocks = f"{row.zero_lookup_blocks:.4f}" if row.zero_lookup_blocks is not None else "-"
    return (
        ("write amplification", f"{row.write_amplification:.3f}", "bytes written to tables per byte flushed"),
        ("update copies", f"{row.update_copies:.3f}", "entries written to tables per entry flushed"),
        ("space amplification", space, f"entries in the tree per live key ({live} live)"),
        ("runs", f"{row.runs}", "sorted runs a lookup may have to ask"),
        ("absent key", blocks, "blocks a lookup reads, filter memory shared ideally"),
    )


def _colour(level: int) -> str:
    """Warm above, cold below."""
    return COLOURS[min(level, len(COLOURS) - 1)]


_STYLES = {"flush": "dim", "merge": "bold blue", "move": "bold green", "drop": "bold red", "switch": "bold magenta"}
