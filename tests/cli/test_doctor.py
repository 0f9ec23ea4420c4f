"""``lsmkv doctor``: engines and their versions, keys that are the same tomorrow, the disk, and whether loading is worth it."""

from __future__ import annotations

import errno
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lsmkv.env.posix import PosixFileSystem
from lsmkv.testing import FailOp, FaultFileSystem, ManualClock, MemoryFileSystem
from lsmkv_tensor.adapters.versions import SUPPORTED
from lsmkv_tensor.cli.doctor_checks import check_engines, check_hash, setting
from lsmkv_tensor.cli.doctor_disk import Speed, check_break_even, check_disk, is_memory, measure, store_bytes
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore

Cli = Callable[..., Any]
ROOT = Path(__file__).parents[2]


def outcomes(checks: Any) -> dict[str, str]:
    return {c["name"] if isinstance(c, dict) else c.name: c["outcome"] if isinstance(c, dict) else c.outcome for c in checks}


def test_engines_by_version() -> None:
    found = {"sglang": "0.5.23.post1", "vllm": "0.34.0", "transformers": "5.23.0"}
    usable, checks = check_engines([], found.get)
    assert usable == ["sglang", "transformers"]
    assert outcomes(checks) == {"sglang": "ok", "vllm": "bad", "transformers": "ok"}
    assert checks[1].advice == "pip install 'vllm>=0.33,<0.34'"


def test_a_vllm_without_our_tier_may_have_the_connector() -> None:
    """vLLM's build for CPUs is a version behind."""
    usable, checks = check_engines(["vllm"], {"vllm": "0.32.0"}.get)
    assert (usable, outcomes(checks)) == (["vllm connector"], {"vllm": "note"})
    assert check_hash(*usable, "xxhash", None).outcome == "bad"
    assert '"kv_connector": "LsmkvConnector"' in setting(*usable, "/nvme/kv", 12345)
    assert outcomes(check_engines(["vllm"], {"vllm": "0.31.2"}.get)[1]) == {"vllm": "bad"}


def test_an_engine_that_was_asked_for_must_be_there() -> None:
    assert outcomes(check_engines(["lmcache"], {}.get)[1]) == {"lmcache": "bad"}
    assert outcomes(check_engines([], {}.get)[1]) == {"engine": "note"}


def test_adapters_and_doctor_go_by_the_same_versions() -> None:
    for file in (ROOT / "lsmkv_tensor" / "adapters").rglob("*.py"):
        for engine, low, below in re.findall(r'require_version\("(\w+)", "([\d.]+)", "([\d.]+)"\)', file.read_text()):
            assert SUPPORTED[engine] == (low, below), file


@pytest.mark.parametrize(
    ("engine", "algorithm", "seed", "outcome"),
    [
        ("sglang", None, None, "ok"),
        ("vllm", "sha256", None, "ok"),
        ("vllm", "sha256", "0", "note"),
        ("vllm", "xxhash", None, "bad"),
        ("vllm", "xxhash", "random", "bad"),
        ("vllm", "xxhash", "0", "note"),
        ("lmcache", None, None, "note"),
        ("lmcache", "blake3", "0", "ok"),
        ("lmcache", "builtin", None, "bad"),
        ("lmcache", "builtin", "0", "note"),
        ("lmcache", "md4", None, "note"),
    ],
)
def test_keys_that_change_with_the_process_are_told(engine: str, algorithm: str | None, seed: str | None, outcome: str) -> None:
    check = check_hash(engine, algorithm, seed)
    assert check.outcome == outcome
    assert (check.advice is None) == (outcome == "ok")


@pytest.mark.parametrize(
    ("algorithm", "seed", "outcome"),
    [("sha256_cbor", None, "bad"), ("sha256_cbor", "0", "note"), ("sha256_hex", None, "note"), ("blake3", None, "ok")],
)
def test_hashes_that_lmcache_borrows_need_vllm(algorithm: str, seed: str | None, outcome: str) -> None:
    """LMCache takes Python's hash where it finds no vLLM, and only logs it."""
    assert check_hash("lmcache", algorithm, seed, vllm=False).outcome == outcome


@pytest.mark.parametrize("engine", SUPPORTED)
def test_what_to_set_names_path_and_capacity(engine: str) -> None:
    assert "/nvme/kv" in setting(engine, "/nvme/kv", 12345)
    assert "12345" in setting(engine, "/nvme/kv", 12345)


@pytest.mark.parametrize("engine", [engine for engine in SUPPORTED if engine != "transformers"])
def test_what_to_set_is_an_argument_of_a_shell(engine: str) -> None:
    assert "/it's kv" in json.dumps(json.loads(shlex.split(setting(engine, "/it's kv", 12345))[-1]))


def test_a_disk_that_cannot_be_written_is_bad_and_not_measured(tmp_path: Path) -> None:
    fs = FaultFileSystem(MemoryFileSystem(), [FailOp("open", errno=errno.EROFS)])
    checks, works = check_disk(fs, str(tmp_path), None)
    assert (outcomes(checks), works) == ({"path": "bad"}, False)


def test_a_disk_that_is_gone_is_bad() -> None:
    checks, works = check_disk(MemoryFileSystem(), "/nowhere/at/all", None)
    assert (outcomes(checks), works) == ({"path": "bad"}, False)


@pytest.mark.parametrize(("reads", "outcome"), [(2e9, "ok"), (1e9, "ok"), (9e8, "bad")])
def test_break_even_is_bytes_of_a_token_times_tokens_a_second(reads: float, outcome: str) -> None:
    speed = Speed(1e9, reads, cached=False)
    assert outcomes(check_break_even(speed, 100_000, 10_000.0))["break-even"] == outcome
    assert outcomes(check_break_even(speed, None, 10_000.0))["break-even"] == "note"


def test_memory_is_not_taken_for_a_disk() -> None:
    assert outcomes(check_break_even(Speed(1e9, 9e9, cached=True), 1, 1.0))["bandwidth"] == "note"


def test_measuring_moves_what_it_says_and_leaves_nothing(tmp_path: Path) -> None:
    moved: list[int] = []
    clock = ManualClock()
    speed = measure(str(tmp_path), 64 << 20, lambda n: (moved.append(n), clock.advance(0.25)), clock=clock)
    assert (sum(moved), speed.write_bytes_per_s, speed.read_bytes_per_s) == (128 << 20, 128 << 20, 128 << 20)
    assert not list(tmp_path.iterdir())


def test_the_whole_command(cli: Cli, tmp_path: Path) -> None:
    asked = ["--measured", "32MiB", "--token-bytes", "1KiB", "--prefill-tokens-per-s", 1, "--capacity", "4MiB"]
    shown = cli("doctor", tmp_path / "new" / "cache", "--json", *asked)
    told = shown.json
    assert outcomes(told["checks"])["break-even"] == "ok"
    assert outcomes(told["checks"])["path"] == outcomes(told["checks"])["free space"] == "ok"
    assert told["speed"]["read_bytes_per_s"] > 0
    assert told["ok"] == (shown.code == 0)
    assert not list(tmp_path.iterdir())
    for text in cli("doctor", tmp_path, "--no-measure").out.splitlines()[-1:]:
        assert re.fullmatch(r"all is well(, with (1 note|\d+ notes))?", text)


def test_too_little_room_is_bad_and_says_how_much_there_is(cli: Cli, tmp_path: Path) -> None:
    shown = cli("doctor", tmp_path, "--no-measure", "--capacity", "9000TB")
    assert shown.code == 1
    assert "capacity_bytes = " in shown.out


def test_a_full_disk_needs_room_and_no_permissions(tmp_path: Path) -> None:
    fs = FaultFileSystem(PosixFileSystem(), [FailOp("pwritev", errno=errno.ENOSPC)])
    checks, works = check_disk(fs, str(tmp_path), None)
    assert not works
    assert checks[0].advice == "make room there, or another path"


def test_a_capacity_that_no_store_can_have_is_not_recommended(cli: Cli, tmp_path: Path) -> None:
    """It was, and all was well: the engine then ended at its start."""
    shown = cli("doctor", tmp_path, "--no-measure", "--capacity", "1MiB", "--json")
    assert (shown.code, outcomes(shown.json["checks"])["capacity"], shown.json["settings"]) == (1, "bad", {})


@pytest.mark.skipif(not is_memory("/dev/shm"), reason="needs a file system in memory there")
def test_a_file_system_in_memory_is_not_taken_for_a_disk() -> None:
    """Linux has O_DIRECT there: 107 GiB/s were read "from the device"."""
    with TemporaryDirectory(dir="/dev/shm") as path:
        assert outcomes(check_disk(PosixFileSystem(), path, None)[0])["disk"] == "note"
        assert measure(path, 1 << 20, lambda _: None).cached


def test_a_model_that_is_not_there_is_told_with_what_is_wanted(cli: Cli, tmp_path: Path) -> None:
    shown = cli("doctor", "--model", tmp_path / "gone")
    assert shown.code == 2
    assert "config.json" in shown.err


@pytest.mark.parametrize("below", ["", "cache/kv"])
@pytest.mark.parametrize("link", [False, True])
def test_a_file_where_the_directory_is_to_be_is_bad(cli: Cli, tmp_path: Path, below: str, link: bool) -> None:
    file = tmp_path / "file"
    if link:
        file.symlink_to(tmp_path / "gone")
    else:
        file.write_text("")
    shown = cli("doctor", file / below, "--json")
    assert shown.code == 1
    assert outcomes(shown.json["checks"])["path"] == "bad"
    assert str(file) in shown.out
    assert shown.json["settings"] == {}


def test_what_a_store_has_already_counts_as_room(tmp_path: Path) -> None:
    segment = tmp_path / "server" / "vlog" / "00000001.seg"
    segment.parent.mkdir(parents=True)
    segment.write_bytes(bytes(1 << 20))
    assert store_bytes(str(tmp_path)) >= 1 << 20
    for taken, outcome in ((0, "bad"), (1 << 60, "ok")):
        assert outcomes(check_disk(PosixFileSystem(), str(tmp_path), 1 << 60, taken)[0])["free space"] == outcome


def test_a_model_without_a_measured_disk_is_told(cli: Cli, tmp_path: Path) -> None:
    told = cli("doctor", tmp_path, "--no-measure", "--token-bytes", "1KiB", "--json").json
    assert outcomes(told["checks"])["break-even"] == "note"


def test_a_store_that_is_open_there_is_not_touched(cli: Cli, tmp_path: Path) -> None:
    with PageStore.open(tmp_path, options=StoreOptions(capacity_bytes=64 << 20)):
        before = sorted(tmp_path.rglob("*"))
        assert cli("doctor", tmp_path, "--measured", "32MiB").code == 0
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--engine", "tensorrt"),
        ("--token-bytes", "1K", "--model", "x"),
        ("--prefill-tokens-per-s", "-1"),
        ("--capacity", "much"),
        ("",),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(cli: Cli, arguments: tuple[str, ...]) -> None:
    shown = cli("doctor", *arguments)
    assert shown.code == 2
    assert (arguments[0] or "PATH") in shown.err
