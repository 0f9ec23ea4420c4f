"""The picture of a comparison: curves that can be told apart, axes that say what they show, and what is missing without it."""

from __future__ import annotations

import importlib

import pytest
from typer.testing import CliRunner

from lsmkv.cli.app import build
from lsmkv.env.rng import seeded
from lsmkv_tensor.trace import Phase, generate, replay, trace_lines

SHARES = (0.01, 0.05, 0.2)


@pytest.fixture(scope="module")
def chats():
    return generate([Phase(requests=150, sharing=0.5, turns=3)], seeded(5))


@pytest.fixture
def drawing():
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    return importlib.import_module("lsmkv_tensor.cli.curve")


def test_every_policy_has_a_curve_of_its_own(drawing, chats):
    rows = replay(chats, capacity=SHARES, eviction=("fifo", "lru", "mq"))
    rows += replay(chats, capacity=SHARES, eviction="mq", admission="second")
    (axes,) = drawing.curves(rows, chats.ideal_hit_rate).axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert set(lines) == {"fifo", "lru", "mq", "mq + second", f"endless cache ({chats.ideal_hit_rate:.1%})"}
    for row in rows:
        name = row.eviction if row.admission == "all" else f"{row.eviction} + {row.admission}"
        assert (pytest.approx(100 * row.capacity_share), row.hit_rate) in list(zip(*lines[name].get_data(), strict=True))
    drawn = [line for name, line in lines.items() if not name.startswith("endless")]
    assert len({(line.get_color(), line.get_marker()) for line in drawn}) == len(drawn)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(lines)
    last = [line.get_ydata()[-1] for line in drawn]
    assert last == sorted(last, reverse=True)


def test_the_axes_say_what_they_show(drawing, chats):
    rows = replay(chats, capacity=SHARES, eviction="lru")
    figure = drawing.curves(rows, chats.ideal_hit_rate)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [f"{100 * row.capacity_share:.2g} %" for row in rows]
    assert all(tick.get_text().endswith(" %") for tick in axes.get_yticklabels())
    assert axes.get_xlabel() == "capacity, % of all distinct blocks"
    assert axes.get_ylabel() == "hits, % of the blocks asked for"
    assert "150 requests" in axes.get_title()


def test_behind_a_cache_there_is_no_bound_and_the_title_says_why(drawing, chats):
    rows = replay(chats, capacity=SHARES, eviction="lru", upstream_blocks=20)
    (axes,) = drawing.curves(rows, chats.ideal_hit_rate).axes
    assert [line.get_label() for line in axes.get_lines()] == ["lru"]
    assert "behind a cache of 20 blocks" in axes.get_title()


def compare(tmp_path, chats, picture):
    trace = tmp_path / "chats.jsonl"
    trace.write_text("\n".join(trace_lines(chats)) + "\n")
    options = ["--index-only", "--compare", "fifo,mq", "--capacity", "1%,5%,20%", "--png", str(tmp_path / picture)]
    return CliRunner().invoke(build(), ["trace", "replay", str(trace), *options])


@pytest.mark.parametrize(("picture", "begins"), [("curves.png", b"\x89PNG\r\n\x1a\n"), ("curves.svg", b"<?xml")])
def test_the_command_writes_the_picture(drawing, tmp_path, chats, picture, begins):
    done = compare(tmp_path, chats, picture)
    assert done.exit_code == 0, done.output
    assert (tmp_path / picture).read_bytes().startswith(begins)


def test_without_matplotlib_the_command_says_which_extra_is_missing_before_it_works(tmp_path, chats, monkeypatch):
    real = importlib.import_module

    def absent(name, *rest, **named):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(importlib, "import_module", absent)
    done = compare(tmp_path, chats, "curves.png")
    assert done.exit_code != 0
    assert "pip install 'lsmkv[plot]'" in done.output
    assert not (tmp_path / "curves.png").exists()
