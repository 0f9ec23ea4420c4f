"""Results of several backends in one JSON file, and the table made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lsmkv_tensor.testing.conformance.cases import CASES

__all__ = ["keep", "load_results", "markdown", "refused"]

_WORDS = {"pass": "yes", "fail": "**no**", "skip": "n/a"}


def keep(file: Path, entry: dict[str, Any]) -> None:
    """Put a backend's results into the file, in the place of earlier ones of the same name. Cases not run now stay."""
    entries = {one["name"]: one for one in load_results(file)} if file.exists() else {}
    before = entries.get(entry["name"], {})
    if before.get("version") == entry["version"] and "cases" in before and "cases" in entry:
        entry = {**entry, "cases": {**before["cases"], **entry["cases"]}}
    entries[entry["name"]] = entry
    file.write_text(json.dumps({"backends": list(entries.values())}, indent=1) + "\n", encoding="utf-8")


def refused(name: str, why: str) -> dict[str, Any]:
    """The entry of a subject that cannot be made here."""
    return {"name": name.rpartition(":")[2], "version": "", "refused": why}


def load_results(file: Path) -> list[dict[str, Any]]:
    """The entries of a file; none in an empty one, which a run that was stopped leaves."""
    text = file.read_text(encoding="utf-8")
    entries: list[dict[str, Any]] = json.loads(text)["backends"] if text else []
    return entries


def markdown(entries: list[dict[str, Any]]) -> str:
    """Who passes what: a row per case, a column per backend; below, the reason of every cell that is not "yes"."""
    ran = [entry for entry in entries if "cases" in entry]
    lines = ["| case | " + " | ".join(f"{entry['name']}" for entry in ran) + " |", "|---|" + "---|" * len(ran)]
    for case in CASES:
        cells = [entry["cases"].get(case, {}).get("outcome") for entry in ran]
        lines.append(f"| {case} | " + " | ".join(_WORDS.get(str(cell), "-") for cell in cells) + " |")
    lines += ["", *(f"- {entry['name']}: {entry['version']}." for entry in ran)]
    lines += [f"- {entry['name']}: not run; {entry['refused']}." for entry in entries if "refused" in entry]
    for entry in ran:
        reasons = [(case, told) for case, told in entry["cases"].items() if told["outcome"] != "pass"]
        if reasons:
            lines += ["", f"**{entry['name']}**", ""]
            lines += [f"- {case} ({_WORDS[told['outcome']].strip('*')}): {told['why']}" for case, told in reasons]
    return "\n".join(lines)
