"""Some steps of a simulation side by side, as one SVG picture for documentation. Pure; follows the reader's dark or light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from lsmkv.lab.drawing import what_happened
from lsmkv.lab.rows import Levels, Row

__all__ = ["film"]

PANEL, GAP, LABEL = 300, 24, 26
LANE, PITCH, HEAD, FOOT = 20, 34, 44, 6
_STYLE = """
text{font:12px system-ui,sans-serif;fill:#1d2129}.s{fill:#5d6573;font-size:11px}.b{font-weight:600}
.w{fill:#f1efea}.n{font-size:10px;fill:#fff;font-weight:600;text-anchor:middle}
.i{stroke:#1d2129;stroke-width:2}.p{stroke-dasharray:4 3}
.l0{fill:#c8321d}.l1{fill:#b4630c}.l2{fill:#857000}.l3{fill:#2e7d42}.l4{fill:#2470b3}.l5{fill:#6f4fb8}
@media(prefers-color-scheme:dark){text{fill:#e8e6e1}.s{fill:#9aa2b1}.w{fill:#23272e}.n{fill:#14161a}.i{stroke:#e8e6e1}
.l0{fill:#ff6b52}.l1{fill:#f5a742}.l2{fill:#dcc43a}.l3{fill:#63c178}.l4{fill:#55a7ee}.l5{fill:#a488ea}}
""".strip().replace("\n", "")


def film(rows: Sequence[Row], steps: Sequence[int]) -> str:
    """The trees after some steps (numbers as in ``Row.step``) from left to right: bar length = bytes, one scale for all.

    What the following step will take is framed (dashed: some of its tables), if that step is shown too.
    """
    shown = [rows[step - 1] for step in steps]
    depth = max(len(row.levels) for row in shown)
    widest = max(sum(run.bytes for run in level) for row in shown for level in row.levels)
    width, height = len(shown) * (PANEL + GAP) - GAP, HEAD + depth * PITCH - (PITCH - LANE) + FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>{escape('; '.join(_sentence(row) for row in shown))}</title><style>{_STYLE}</style>",
    ]
    for at, row in enumerate(shown):
        following = shown[at + 1] if at + 1 < len(shown) and shown[at + 1].step == row.step + 1 else None
        parts.append(f'<g transform="translate({at * (PANEL + GAP)},0)">{_panel(row, following, depth, widest)}</g>')
    return "\n".join([*parts, "</svg>\n"])


def _sentence(row: Row) -> str:
    """A step in words, for those who cannot see the picture."""
    levels = ", ".join(f"level {number}: {len(level)}" for number, level in enumerate(row.levels))
    return f"after {row.writes:,} writes ({what_happened(row)}) runs on {levels}"


def _panel(row: Row, following: Row | None, depth: int, widest: int) -> str:
    """One step."""
    inputs = following.inputs if following is not None else ()
    taken = {(one.level, one.position): "i" if one.tables == one.of_tables else "i p" for one in inputs}
    parts = [
        f'<text class="b" x="0" y="13">{escape(what_happened(row))}</text>',
        f'<text class="s" x="0" y="29">after {row.writes:,} writes, {row.runs} run{"" if row.runs == 1 else "s"}</text>',
    ]
    for number in range(depth):
        top = HEAD + number * PITCH
        parts.append(f'<text x="0" y="{top + 15}">L{number}</text>')
        parts.append(f'<rect class="w" x="{LABEL}" y="{top}" width="{PANEL - LABEL}" height="{LANE}" rx="4"/>')
        parts.append(_bars(row.levels, number, top, widest, taken))
    return "".join(parts)


def _bars(levels: Levels, number: int, top: int, widest: int, taken: Mapping[tuple[int, int], str]) -> str:
    """The runs of a level, newest on the left."""
    level = levels[number] if number < len(levels) else ()
    room, x, parts = PANEL - LABEL - 2 * max(0, len(level) - 1), float(LABEL), []
    for position, run in enumerate(level):
        width = max(3.0, run.bytes / widest * room)
        kind = f"l{min(number, 5)} {taken.get((number, position), '')}".rstrip()
        parts.append(f'<rect class="{kind}" x="{x:.1f}" y="{top}" width="{width:.1f}" height="{LANE}" rx="3"/>')
        if width > 30:
            parts.append(f'<text class="n" x="{x + width / 2:.1f}" y="{top + 14}">{_short(run.entries)}</text>')
        x += width + 2
    return "".join(parts)


def _short(entries: int) -> str:
    """``20k``."""
    return f"{entries / 1e6:.1f}M" if entries >= 999_500 else f"{entries / 1e3:.0f}k" if entries >= 1_000 else str(entries)
