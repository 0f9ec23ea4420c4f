"""A prompt's prefix through the real engine: computed in one process, loaded by the next, whatever happened to the disk between.

Four engines start, one after the other; each takes most of its time for starting.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
BLOCK, TOKENS = 32, 16


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The demo's model in bfloat16, with the demo's handbook in its tokens."""
    import torch
    from safetensors.torch import load_file, save_file
    from tokenizers import Tokenizer

    from lsmkv_tensor.cli.weights import ensure_weights

    source = ensure_weights(ROOT / ".cache/lsmkv-demo", lambda *_: None)
    place = tmp_path_factory.mktemp("smollm2-135m-instruct-bfloat16")
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(source / "model.safetensors").items()}
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((source / "config.json").read_text()) | {"dtype": "bfloat16"}
    (place / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    text = (ROOT / "lsmkv_tensor/cli/document.txt").read_text(encoding="utf-8")
    return place, tokenizer, tokenizer.encode(text, add_special_tokens=False).ids


class Engines:
    """Engine processes over one directory."""

    def __init__(self, model, place):
        self.path, self.tokenizer, self.ids = model
        self.place = place

    def run(self, prompts, **job):
        """What a fresh engine generates for these prompts, how many of their tokens were cached, and what was counted."""
        store = {"path": str(self.place / "kv"), "max_bytes": 1 << 30, "segment_bytes": 16 << 20, "direct_io": "off"}
        job = {"model": str(self.path), "store": store, "tokens": TOKENS, "prompts": prompts, **job}
        (self.place / "job.json").write_text(json.dumps(job))
        ran = subprocess.run(
            [sys.executable, str(HERE / "child.py"), str(self.place / "job.json")],
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        found = [line for line in ran.stdout.splitlines() if line.startswith('{"answers"')]
        assert found, ran.stdout[-4000:] + ran.stderr[-4000:]
        answer = json.loads(found[-1])
        texts = [self.tokenizer.decode(ids) for ids, _ in answer["answers"]]
        counts = {name.removeprefix("lsmkv_connector_"): n for name, n in answer["metrics"].items()}
        return texts, [cached for _, cached in answer["answers"]], counts

    def flip_a_bit(self):
        """In the middle of a page."""
        for segment in sorted((self.place / "kv").rglob("*.seg")):
            data = bytearray(segment.read_bytes())
            at = next((i for i in range(1 << 20, len(data), 1 << 16) if any(data[i : i + 64])), None)
            if at is not None:
                data[at] ^= 1
                segment.write_bytes(data)
                return
        raise AssertionError("no segment holds a page")


@pytest.mark.timeout(3600)
def test_a_fresh_engine_loads_what_another_computed(model, tmp_path):
    engines = Engines(model, tmp_path)
    ids = engines.ids
    prompts = [[ids[:400]], [ids[:401]]]  # alone: how many requests share a step decides the last bits, and nearly equal tokens

    texts, cached, counts = engines.run(prompts)
    assert cached == [0, 12 * BLOCK]  # the second finds the first's blocks in vLLM's own cache
    assert counts["stored_pages"] >= 12
    assert counts["loaded_pages"] == 0

    again, cached, counts = engines.run(prompts)
    assert cached == [12 * BLOCK, 12 * BLOCK]
    assert counts["loaded_pages"] == 12
    assert counts["missing_pages"] == counts["corrupt_pages"] == 0
    assert again == texts

    engines.flip_a_bit()
    again, cached, counts = engines.run(prompts)
    assert counts["corrupt_pages"] == counts["missing_pages"] == 1
    assert counts["stored_pages"] >= 1  # it was computed, and stored anew
    assert again == texts

    _, cached, counts = engines.run(prompts[:1], dtype="float32")
    assert cached == [0]
    assert counts["loaded_pages"] == 0
