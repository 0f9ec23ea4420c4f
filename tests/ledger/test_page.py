"""docs/ledger.md: its example runs, and it explains every clause there is."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from tests.ledger.io_clauses import CAPS, CLAUSES

PAGE = Path(__file__).parents[2] / "docs/ledger.md"


def test_the_example_holds() -> None:
    assert doctest.testfile(str(PAGE), module_relative=False).failed == 0


def test_every_clause_is_explained() -> None:
    rows = [line.split("|")[1] for line in PAGE.read_text().split("| clause | allows |")[1].splitlines() if line.startswith("| ")]
    explained = {clause.strip() for row in rows for clause in row.split(";")} - {"as ``other``"}
    known = {re.sub(r"\\(.)", r"\1", words) for words in (*CLAUSES, *CAPS)}
    assert explained == known
