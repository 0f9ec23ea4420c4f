"""Writes again the tables of docs/cost-model.md that rest on docs/lab/validate.csv, and that file's picture.

``python docs/lab_tables.py docs/cost-model.md``; the rows come from ``lsmkv lab validate --csv docs/lab/validate.csv``.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from lsmkv.lab import Rows, choices, score, seconds
from lsmkv.lab.measures import LONG_RUN
from lsmkv.lab.scores import Choice, Score

__all__ = ["BLOCK", "table"]

HERE = Path(__file__).parent
BLOCK = re.compile(r"(<!-- validate -->\n).*?(<!-- end of validate -->)", re.DOTALL)


def table() -> str:
    """What the committed rows say."""
    rows = Rows.from_csv("validate", HERE / "lab/validate.csv")
    about = json.loads((HERE / "lab/validate.json").read_text(encoding="utf-8"))
    cells = len({(row["policy"], row["filters"]) for row in rows})
    head = f"{cells} trees, each growing (twice) and steady; {about['machine']}, {about['date']}, Python {about['python']}, seed "
    lines = [
        f"{head}{rows[0]['seed']}. {about['note']}".rstrip(),
        "",
        "| cost | rows | mean error | worst | Spearman | rows with few false positives | their largest difference | target |",
        "|---|---|---|---|---|---|---|---|",
        *map(_score, score(rows) + score(seconds(rows))),
        *(_score(one, ", long run") for one in score(rows, [LONG_RUN])),
        "",
        "| mix | `best_shape` chooses | blocks per operation | best measured | blocks per operation | regret |",
        "|---|---|---|---|---|---|",
        *map(_choice, choices(rows)),
        "",
    ]
    return "\n".join(lines)


def _score(one: Score, of: str = "") -> str:
    """A line of the first table; ``of``: said beside the cost."""
    error, worst = (f"{x:.1%}" if x is not None else "-" for x in (one.error, one.worst))
    rank = f"{one.rank:.3f}" if one.rank is not None else "-"
    absolute = f"{one.absolute:.4f}" if one.absolute is not None else "-"
    reached = "reached" if one.reached else "**missed**"
    return f"| `{one.cost}`{of} | {one.cells} | {error} | {worst} | {rank} | {one.small} | {absolute} | {reached} |"


def _choice(one: Choice) -> str:
    """A line of the second table."""
    return (
        f"| {one.mix} | {one.chosen} | {one.chosen_blocks:.4g} | {one.best} | {one.best_blocks:.4g} | "
        f"{one.regret:.1%}{' (**missed**)' if one.regret > 0.03 else ''} |"
    )


if __name__ == "__main__":
    page = Path(sys.argv[1])
    text = page.read_text(encoding="utf-8")
    page.write_text(BLOCK.sub(lambda found: f"{found[1]}\n{table()}\n{found[2]}", text), encoding="utf-8")
