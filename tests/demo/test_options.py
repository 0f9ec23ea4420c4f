"""Options, directories and missing packages: one clear line and exit code 2, and nothing that is not ours is touched."""

from __future__ import annotations

import importlib.util

import pytest
import typer
from typer.testing import CliRunner

from lsmkv.env.posix import PosixFileSystem
from lsmkv_tensor.cli import demo as demo_module
from lsmkv_tensor.cli.demo import MARKER, demo


@pytest.fixture
def refuse(monkeypatch, tmp_path):
    """Run the command where no process may be started; it must end with code 2 and one line, which is returned."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))

    def no_child(*args):
        raise AssertionError(args)

    monkeypatch.setattr(demo_module, "run_child", no_child)
    app = typer.Typer()
    app.command()(demo)

    def run(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == 2, result.output
        assert len(result.stderr.strip().splitlines()) == 1
        return result.stderr

    return run


@pytest.mark.parametrize("capacity", ["", "0", "-1GiB", "much", "5 parsecs", "1.5.2GB", "nan"])
def test_a_size_that_is_none(refuse, capacity):
    assert "--capacity" in refuse("--model", "random", f"--capacity={capacity}")


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GiB", 1 << 30), ("512MiB", 512 << 20), ("2GB", 2 * 10**9), ("1.5g", 3 << 29), ("4096", 4096), ("1 KB", 1000)],
)
def test_sizes(text, size):
    assert demo_module._size(text) == size


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_threads_out_of_range(refuse, threads):
    assert "--threads" in refuse("--model", "random", "--threads", threads)


def test_a_weights_file_that_is_not_there(refuse, tmp_path):
    assert "no such file" in refuse("--weights", tmp_path / "absent.whl")


def test_somebody_elses_directory_is_left_alone(refuse, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "store").write_text("precious")
    assert "not a demo's directory" in refuse("--model", "random", "--path", tmp_path / "home")
    assert (tmp_path / "home" / "store").read_text() == "precious"


def test_a_file_is_no_directory(refuse, tmp_path):
    (tmp_path / "file").write_text("")
    assert "not a directory" in refuse("--model", "random", "--path", tmp_path / "file")


def test_only_one_demo_at_a_time_in_a_directory(refuse, tmp_path):
    (tmp_path / MARKER).write_text("{}")
    (tmp_path / "store").mkdir()
    lock = PosixFileSystem().lock(str(tmp_path / "demo.lock"))
    assert "another demo" in refuse("--model", "random", "--path", tmp_path)
    assert (tmp_path / "store").exists()
    lock.release()


def test_missing_packages_are_named_with_the_remedy(refuse, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "transformers" else real(name, *rest))
    assert refuse("--model", "random") == "lsmkv demo: transformers not installed: pip install 'lsmkv[demo]'\n"


def test_what_the_last_demo_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / MARKER).write_text("{}")
    (tmp_path / "store").mkdir()
    for name in ("store/000001.sst", "kv.pt", "first.log", "notes.txt"):
        (tmp_path / name).write_text("")
    with demo_module._directory(tmp_path, keep=True):
        assert (tmp_path / "store" / "000001.sst").exists()
    with demo_module._directory(tmp_path, keep=False):
        assert sorted(p.name for p in tmp_path.iterdir()) == ["child.lock", "demo.lock", MARKER, "notes.txt"]


def test_where_things_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert demo_module._cache() == tmp_path / "xdg" / "lsmkv"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert demo_module._cache() == tmp_path / "home" / ".cache" / "lsmkv"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "lsmkv"\n')
    assert str(demo_module._cache()) == ".cache/lsmkv-demo"
