"""Writes again the numbers of docs/lab.md, and two pictures, from committed results: ``python docs/lab_page.py docs/lab.md``.

``--run`` runs the page's example first and writes ``docs/lab/ablate.csv``: whole phases and counts only, which are the same on
every machine. The other results have commands of their own (``make validate``, ``lsmkv lab phases --engine 5 --out
docs/controller.json``).
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

from lsmkv.lab import Rows, ablate, choices, policies_of, read_workload, score, seconds
from lsmkv.lab.phases.result import load_result
from lsmkv.lab.scores import TARGETS
from lsmkv.lab.tidy import Record

__all__ = ["page"]

HERE = Path(__file__).parent
LAB = HERE / "lab"
EXAMPLE = LAB / "example.yaml"
MARKS = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

POLICIES, SIZE_RATIOS = ("leveled", "tiered", "lazy", "fluid:K=3"), (4, 10)
SHOWN = (
    ("zero_lookup_blocks", "absent key"),
    ("lookup_blocks", "present key"),
    ("scan_blocks", "scan"),
    ("update_copies", "copies"),
    ("space_amplification", "space"),
)


def run() -> Rows:
    """The example's counts, of whole phases."""
    found = ablate(read_workload(EXAMPLE), policies_of(POLICIES, SIZE_RATIOS), ["monkey"], slices=1)
    counted = (row for row in found if row["slice"] == 0 and not str(row["cost"]).endswith("_cpu_s"))
    return Rows("ablate", tuple(counted))


def workload() -> str:
    """The example's workload."""
    return f"```yaml\n{EXAMPLE.read_text(encoding='utf-8')}```\n"


def ablation() -> str:
    """A line for each tree in each phase."""
    lines: defaultdict[tuple[str, str], dict[str, Record]] = defaultdict(dict)
    for row in Rows.from_csv("ablate", LAB / "ablate.csv"):
        lines[str(row["phase"]), str(row["policy"])][str(row["cost"])] = row
    heads = ("phase", "tree", *(head for _, head in SHOWN))
    told = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    told += [
        f"| {phase} | {tree} | {' | '.join(_cell(line.get(cost)) for cost, _ in SHOWN)} |"
        for (phase, tree), line in lines.items()
    ]
    return "\n".join(told) + "\n"


def _cell(row: Record | None) -> str:
    """Measured, and predicted if somebody predicted it."""
    if row is None:
        return "-"
    said = row["predicted"]
    return f"{row['measured']:.3g}" + (f" ({said:.3g})" if said is not None else "")


def validate() -> str:
    """How many targets of the validation are reached."""
    rows = Rows.from_csv("validate", LAB / "validate.csv")
    told = score(rows) + score(seconds(rows))
    missed = ", ".join(f"`{one.cost}`" for one in told if not one.reached)
    chosen = choices(rows)
    good = sum(one.regret <= TARGETS.regret for one in chosen)
    reached = sum(one.reached for one in told)
    costs = f"Of {len(told)} costs, {reached} reach their targets{f' (not {missed})' if missed else ''}"
    if not chosen:
        return f"{costs}.\n"
    return (
        f"{costs}; for {good} of {len(chosen)} mixes the shape that\n"
        f"`best_shape` chooses costs at most {TARGETS.regret:.0%} more than the best one measured.\n"
    )


def phases() -> str:
    """The controller against the best static shape."""
    result = load_result(HERE / "controller.json")[0]
    told = result.spread("default")
    return (
        f"In the committed result of {len(result.sequences)} sequences the controller costs {told.mean:.3f} times what the best "
        f"static shape in hindsight\ndoes on average, {told.most:.3f} times at most.\n"
    )


def page(text: str) -> str:
    """The page with its parts made anew."""
    parts = {"workload": workload, "ablate": ablation, "validate": validate, "phases": phases}
    return MARKS.sub(lambda found: f"{found[1]}{parts[found[2]]()}{found[3]}", text)


if __name__ == "__main__":
    if "--run" in sys.argv:
        run().to_csv(LAB / "ablate.csv")
    (target,) = (Path(argument) for argument in sys.argv[1:] if argument != "--run")
    steady = Rows.from_csv("validate", LAB / "validate.csv").where(phase="steady")
    Rows("validate", tuple(steady)).plot(LAB)
    target.write_text(page(target.read_text(encoding="utf-8")), encoding="utf-8")
