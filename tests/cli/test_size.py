"""``lsmkv size``: from a model's config to bytes, disks, speeds and wear."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
CONFIG = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "torch_dtype": "bfloat16",
}
BY_HAND = ["--layers", 32, "--kv-heads", 8, "--head-dim", 128, "--dtype", "bfloat16"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG))
    return file


def test_a_config_its_directory_and_numbers_by_hand_say_the_same(cli: Cli, config: Path) -> None:
    told = cli("size", config, "--json").json
    assert (told["token_bytes"], told["page_bytes"], told["page_tokens"]) == (128 << 10, 8 << 20, 64)
    assert told == cli("size", config.parent, "--json").json == cli("size", *BY_HAND, "--json").json
    assert set(told) == {"model", "page_tokens", "codec", "token_bytes", "page_bytes", "stored_bytes", "disk_bytes"}


def test_everything_at_once(cli: Cli, config: Path) -> None:
    asked = ["--page-tokens", 16, "--tokens", 1000, "--sessions", 3, "--prefill-tokens-per-s", 8000, "--bandwidth", "2GB"]
    told = cli("size", config, *asked, "--disk", "1TB", "--write-rate", "100MB", "--write-amplification", 1.5, "--json").json
    assert told["hold"]["pages"] == 62 * 3
    assert told["hold"]["capacity_bytes"] > 62 * 3 * told["disk_bytes"]
    assert told["speed"]["break_even_bytes_per_s"] == 8000 * (128 << 10)
    assert told["speed"]["load_speedup"] == pytest.approx(2e9 / (8000 * (128 << 10)))
    assert told["wear"]["dwpd"] == pytest.approx(100e6 * 1.5 * 86_400 / 1e12)
    shown = cli("size", config, *asked, "--disk", "1TB", "--new-tokens-per-s", 500)
    assert shown.code == 0
    for word in ("128.0 KiB", "break-even", "3 sessions", "DWPD"):
        assert word in shown.out


def test_a_codec_makes_pages_smaller_and_loading_faster(cli: Cli, config: Path) -> None:
    codecs = ("raw", "shuffle_zstd", "int8")
    raw, packed, int8 = (cli("size", config, "--codec", c, "--bandwidth", "1GB", "--json").json for c in codecs)
    assert raw["page_bytes"] == packed["page_bytes"] == int8["page_bytes"]
    assert raw["stored_bytes"] > packed["stored_bytes"] > int8["stored_bytes"]
    assert int8["speed"]["load_tokens_per_s"] == pytest.approx(1.94 * raw["speed"]["load_tokens_per_s"], rel=0.01)
    assert "as int8" in cli("size", config, "--codec", "int8").out


def test_what_a_disk_holds_is_what_needs_no_larger_one(cli: Cli, config: Path) -> None:
    fits = cli("size", config, "--disk", "100GiB", "--json").json["disk"]
    need = cli("size", config, "--tokens", fits["tokens"], "--json").json["hold"]
    more = cli("size", config, "--tokens", fits["tokens"] + 64 * 100, "--json").json["hold"]
    assert need["capacity_bytes"] <= 100 << 30 < more["capacity_bytes"]
    assert fits["pages"] == need["pages"]
    assert "hold" in cli("size", config, "--disk", "100GiB").out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "torch_dtype is not there: give --dtype"),
        (["--dtype", "bfloat16"], "num_hidden_layers"),
        ([*BY_HAND, "--tokens", 0], "--tokens 0"),
        ([*BY_HAND, "--layers", 0], "--layers 0"),
        ([*BY_HAND, "--prefill-tokens-per-s", -1], "--prefill-tokens-per-s -1"),
        ([*BY_HAND, "--bandwidth", "fast"], "--bandwidth 'fast'"),
        ([*BY_HAND, "--write-rate", "1GB"], "--disk is missing"),
        ([*BY_HAND, "--disk", "1TB", "--write-rate", "1GB", "--new-tokens-per-s", 5], "give one of them"),
        ([*BY_HAND, "--dtype", "int8", "--codec", "fp8"], "--codec fp8"),
        (["/nowhere/config.json"], "/nowhere/config.json"),
    ],
)
def test_what_is_missing_or_wrong_is_named(cli: Cli, arguments: list[object], told: str) -> None:
    outcome = cli("size", *arguments)
    assert outcome.code == 2
    assert told in outcome.err
    assert told in cli("size", *arguments, "--json").json["error"]["message"]


@pytest.mark.parametrize("text", ["{", "[1]", '{"num_hidden_layers": "many", "torch_dtype": "float16"}'])
def test_a_config_that_is_none_is_refused(cli: Cli, config: Path, text: str) -> None:
    config.write_text(text)
    assert cli("size", config).code == 2
