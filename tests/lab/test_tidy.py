"""Tidy rows: to CSV and back, to pandas, to pictures; and the classic figures."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.errors import InvalidArgumentError
from lsmkv.lab import Rows, curves
from lsmkv.lab.curves import FIGURES
from tests.cli.conftest import run

values = st.one_of(st.none(), st.integers(-(10**9), 10**9), st.floats(-1e6, 1e6), st.text("abc xyz,=\"'", min_size=1, max_size=9))


@given(st.lists(st.fixed_dictionaries({"a": values, "b": values}), min_size=1, max_size=9))
def test_rows_come_back_from_csv(tmp_path_factory: pytest.TempPathFactory, given_rows: list[dict[str, object]]) -> None:
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    Rows("ablate", tuple(given_rows)).to_csv(file)
    back = Rows.from_csv("ablate", file)
    for before, after in zip(given_rows, back, strict=True):
        for name, value in before.items():
            assert after[name] == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value)


def test_no_rows_pandas_or_matplotlib_are_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.csv").write_text("a,b\n")
    with pytest.raises(InvalidArgumentError, match="holds no rows"):
        Rows.from_csv("ablate", tmp_path / "empty.csv")
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InvalidArgumentError, match="pip install pandas"):
        Rows("curves", ({"a": 1},)).to_pandas()
    with pytest.raises(InvalidArgumentError, match=r"lsmkv\[plot\]"):
        curves(["monkey"]).plot(tmp_path)
    with pytest.raises(InvalidArgumentError, match="no picture of 'nothing'"):
        Rows("nothing", ({"a": 1},)).plot(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b\n1,2\n1,2,3\n", "row 3 has not as many values"),
        (b"a,b\n1\n", "row 2 has not as many values"),
        (b"a,b\n\xff,1\n", "is no CSV"),
        (b"experiment,b\nablate,1\n", "row 2 is of the experiment 'ablate', not 'validate'"),
    ],
)
def test_what_is_no_csv_of_such_rows_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "rows.csv").write_bytes(data)
    with pytest.raises(InvalidArgumentError, match=message):
        Rows.from_csv("validate", tmp_path / "rows.csv")


def test_the_classic_figures_say_what_the_papers_say() -> None:
    rows = curves()
    assert {row["figure"] for row in rows} == set(FIGURES)
    lookups = {(row["line"], row["x"]): float(str(row["y"])) for row in rows.where(figure="monkey")}
    for ratio in (4, 10):
        for bits in (4.0, 10.0, 16.0):
            assert lookups[f"optimal, T={ratio}", bits] < lookups["uniform", bits]
    frontier = rows.where(figure="dostoevsky")
    at_ten = {str(row["line"]): row for row in frontier if row["size_ratio"] == 10}
    assert float(str(at_ten["tiered"]["x"])) < float(str(at_ten["lazy"]["x"])) < float(str(at_ten["leveled"]["x"]))
    assert float(str(at_ten["leveled"]["y"])) < float(str(at_ten["lazy"]["y"])) < float(str(at_ten["tiered"]["y"]))
    rates = [float(str(row["y"])) for row in rows.where(figure="allocation", line="leveled, optimal")]
    assert all(deeper == pytest.approx(10 * above, rel=0.05) for above, deeper in pairwise(rates))


def test_the_command_draws_them(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    told = run("lab", "curves", "monkey", "allocation", "--plots", tmp_path / "p", "--csv", tmp_path / "c.csv")
    assert told.code == 0, told.err
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["allocation.png", "monkey.png"]
    assert all(path.stat().st_size < 60_000 for path in (tmp_path / "p").iterdir())
    assert run("lab", "curves", "--json").json[0]["figure"] == "monkey"
    assert "no 'nothing'" in run("lab", "curves", "nothing").err
    assert "above 0" in run("lab", "curves", "--filter-bits-per-key", "0").err
