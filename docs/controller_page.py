"""The tables of docs/controller.md: ``python docs/controller_page.py docs/controller.json docs/controller.md`` writes them again.

The result is made by ``lsmkv lab phases --engine 5 --out docs/controller.json``; whether it still holds is asked by
``lsmkv lab phases --from docs/controller.json --check``.
"""

import re
import sys
from pathlib import Path

from lsmkv.lab.phases.result import BETTER_THAN_LEVELING, Result, load_result
from lsmkv.lab.phases.trial import AIM, MUST, STRATEGIES

MARKS = re.compile(r"(<!-- (\w+) -->\n).*?(\n<!-- end -->)", re.DOTALL)

NAMES = {
    "default": "**the controller** (`Adaptive()`)",
    "neighbours": "rent or buy over neighbouring runs, nothing else (T=7)",
    "levels": "rent or buy level by level, nothing else (T=7)",
    "round trip": "switching between the shapes, round-trip threshold",
    "one way": "switching between the shapes, one-way threshold",
    "oracle": "oracle: the best way found through the shapes, the future known",
    "leveling at 10": "leveling at 10 (the engine's default policy)",
}


def summary(result: Result) -> str:
    """Everybody's ratios."""
    lines = [f"{len(result.sequences)} sequences, seed `{result.seed[:16]}...`:", ""]
    lines += ["| who | mean | 90th percentile | maximum |", "|---|---|---|---|"]
    for name in STRATEGIES:
        told = result.spread(name)
        lines.append(f"| {NAMES[name]} | {told.mean:.3f} | {told.p90:.3f} | {told.most:.3f} |")
    for name, limits in (("must", MUST), ("aim", AIM)):
        lines.append(f"| *target for the controller, {name}* | " + " | ".join(f"<= {limit:.2f}" for limit in limits) + " |")
    worst = sum(one.worst for one in result.sequences) / len(result.sequences)
    lines += [
        "",
        f"Against leveling at 10 the controller is {result.gain:.2f} times better on average (target {BETTER_THAN_LEVELING});",
    ]
    lines += [f"the worst static shape of a sequence costs {worst:.2f} times the best one. Targets missed:"]
    return "\n".join([*lines, f"{'; '.join(result.misses()) or 'none'}."])


def distribution(result: Result) -> str:
    """The controller's ratios, sorted, and the sequences where it does worst."""
    ordered = sorted(result.sequences, key=lambda one: -one.ratios["default"])
    values = [f"{one.ratios['default']:.2f}" for one in ordered]
    lines = ["All ratios of the controller:", ""]
    lines += ["    " + " ".join(values[at : at + 20]) for at in range(0, len(values), 20)]
    shares = sorted(one.transition_share for one in ordered)
    lines += [
        "",
        f"Its decisions took {shares[0]:.0%} to {shares[-1]:.0%} of all I/O, {shares[len(shares) // 2]:.0%} in the median.",
    ]
    lines += [
        "",
        "The five worst sequences (a phase with its length in ticks of N/400 operations; A: memtables at the beginning):",
        "",
    ]
    lines += ["| ratio | best static | leveling at 10 | A | writes | phases |", "|---|---|---|---|---|---|"]
    for one in ordered[:5]:
        kind, leveling = "overwrite" if one.overwrites else "add keys", one.ratios["leveling at 10"]
        lines.append(f"| {one.ratios['default']:.3f} | {one.best} | {leveling:.2f} | {one.arrivals} | {kind} | {one.phases} |")
    return "\n".join(lines)


def engine(result: Result) -> str:
    """Counted beside simulated."""
    heads = ("sequence", "entries", "operations", "best static shape", "controller", "leveling at 10")
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {one.number} | {one.entries:,} | {one.operations:,} | {one.best} ({one.best_simulated}) "
        f"| {one.default:.3f} ({one.default_simulated:.3f}) | {one.leveling:.3f} ({one.leveling_simulated:.3f}) |"
        for one in result.engine
    ]
    return "\n".join(lines)


def page(text: str, result: Result) -> str:
    """The page with its tables made anew."""
    parts = {"summary": summary, "distribution": distribution, "engine": engine}
    return MARKS.sub(lambda found: f"{found[1]}{parts[found[2]](result)}{found[3]}", text)


if __name__ == "__main__":
    result = load_result(Path(sys.argv[1]))[0]
    target = Path(sys.argv[2])
    target.write_text(page(target.read_text(encoding="utf-8"), result), encoding="utf-8")
