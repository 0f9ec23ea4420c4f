"""The demo's second process, started afresh: the prefix comes from disk, and everything about it is checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from lsmkv_tensor import TensorStore
from lsmkv_tensor.adapters.transformers import PrefixCache
from lsmkv_tensor.cli.demo_measure import (
    Answer,
    device_bytes,
    digest,
    drop_page_cache,
    first_token,
    greedy,
    now,
    prefix_parts,
    same_parts,
    warm_up,
)
from lsmkv_tensor.cli.demo_model import Talker, converse, load
from lsmkv_tensor.cli.demo_spec import DemoError, Reporter, Spec
from lsmkv_tensor.cli.demo_store import KV_FILE, open_store, store_path
from lsmkv_tensor.runtime.process import settle_disks

__all__ = ["TOLERANCE", "run_second"]

TOLERANCE = 1e-3
"""Largest difference allowed between logits after a restored and after a computed prefix. The restored bytes are the same
bits; only the last few tokens are computed in a batch of another shape, for which the libraries choose other kernels."""


@dataclass(frozen=True)
class Restored:
    """One timed restore."""

    cache: Any
    answer: Answer
    tokens: int
    restore_s: float
    """Look-up, read and hand-over."""
    ttft_s: float
    device_bytes: int | None


class SecondProcess:
    """The work of the second process, step by step."""

    def __init__(self, spec: Spec, report: Reporter, talker: Talker, store: TensorStore) -> None:
        """Start from a loaded model and an opened store."""
        self.spec = spec
        self.report = report
        self.talker = talker
        self.model = talker.model
        self.store = store
        self.prefix_cache = PrefixCache(store, talker.model)
        self.talk = converse(talker, spec.tokens, spec.page_tokens)
        assert spec.recorded is not None
        self.recorded = spec.recorded
        self.tokens = int(self.recorded["tokens"])

    def restore(self, prompt: Sequence[int], *, cold: bool) -> Restored:
        """Bring the prefix of ``prompt`` from the store and compute the first token of the answer."""
        if cold:
            drop_page_cache(store_path(self.spec))
        device, start = device_bytes(), now()
        cache = self.prefix_cache.restore(torch.tensor([list(prompt)]))
        restored_at, tokens = now(), cache.get_seq_length()
        answer = first_token(self.model, prompt, cache)
        end, after = now(), device_bytes()
        read = after - device if device is not None and after is not None else None
        return Restored(cache, answer, tokens, restored_at - start, end - start, read)

    def restores(self) -> tuple[Restored, dict[str, Any]]:
        """Time restores, cold and warm; the first of them (cold, in a fresh process) is the one that is then checked."""
        prompt, out = self.talk.prompt, {}
        settle_disks()
        first: Restored | None = None
        for name, cold in (("cold", True), ("warm", False)):
            self.report.stage(f"restoring the prefix, {name}")
            times: dict[str, Any] = {"ttft_s": [], "restore_s": []}
            for i in range(self.spec.repeats):
                run = self.restore(prompt, cold=cold)
                first = first or run
                times["ttft_s"].append(run.ttft_s)
                times["restore_s"].append(run.restore_s)
                times.setdefault("device_bytes", run.device_bytes)
                del run  # its cache: kept, every run would begin with memory the process never touched before
                self.report.progress(i + 1, self.spec.repeats)
            out[name] = times
        assert first is not None
        if first.tokens < self.tokens:
            msg = f"the store gave back {first.tokens:,} of {self.tokens:,} tokens"
            raise DemoError(msg, 1)
        return first, out

    def reads(self) -> dict[str, Any]:
        """The same bytes without a model: the store's batch read, and ``torch.load``."""
        self.report.stage("reading the same bytes through torch.load")
        file = Path(self.spec.path) / KV_FILE
        prefix = self.talk.prompt[: self.tokens]

        def from_store() -> int:
            """Tokens read by the store's batch read."""
            return len(self.store.get_batch(prefix)) * self.spec.page_tokens

        def from_file() -> int:
            """Tokens read by torch."""
            return int(torch.load(file, weights_only=True)[0].shape[2])

        return {
            "store": self._rates(from_store, store_path(self.spec)),
            "torch": self._rates(from_file, file),
        }

    def _rates(self, read: Callable[[], int], source: Path) -> dict[str, list[float]]:
        """Seconds of some cold and warm reads; each must deliver all tokens."""
        out: dict[str, list[float]] = {"cold_s": [], "warm_s": []}
        for name, times in out.items():
            for _ in range(self.spec.repeats):
                if name == "cold_s":
                    drop_page_cache(source)
                start = now()
                tokens = read()
                times.append(now() - start)
                if tokens != self.tokens:
                    msg = f"{source} gave back {tokens:,} of {self.tokens:,} tokens"
                    raise DemoError(msg, 1)
        return out

    def compute(self, prompt: Sequence[int], what: str) -> tuple[Any, Answer, float]:
        """A full prefill, as a process without a store must do it: cache, answer, seconds."""
        self.report.stage(what)
        cache = DynamicCache(config=self.model.config)
        start = now()
        answer = first_token(self.model, prompt, cache, self.report)
        return cache, answer, now() - start

    def say(self, cache: Any, first: int) -> list[int]:  # noqa: ANN401  # DynamicCache
        """The whole answer."""
        return greedy(self.model, cache, first, self.spec.answer_tokens, self.talker.stop)

    def first_turn(self) -> dict[str, Any]:
        """Restore the first turn's prompt, compute it again, compare."""
        restored, ttft = self.restores()
        parts = [part.clone() for part in prefix_parts(restored.cache, self.tokens)]
        found = digest(parts)
        reads = self.reads()
        text = self.say(restored.cache, restored.answer.token)
        prompt = self.talk.prompt
        count = f"{len(prompt):,} tokens"
        cache, answer, first_s = self.compute(prompt, f"computing the same {count} again, to compare")
        bits = same_parts(parts, prefix_parts(cache, self.tokens))
        largest = float((answer.logits - restored.answer.logits).abs().max())
        plain = self.say(cache, answer.token)
        _, _, second_s = self.compute(prompt, f"computing the {count} once more, to time it")
        self.report.stage("answering through PrefixCache.generate")
        through = self.generate(prompt)
        return {
            **ttft,
            "reads": reads,
            "restored_tokens": restored.tokens,
            "computed_s": [first_s, second_s],
            "digest": found,
            "bit_equal": bits,
            "logits_difference": largest,
            "tolerance": TOLERANCE,
            "answers": {"restored": text, "computed": plain, "generate": through},
        }

    def generate(self, prompt: Sequence[int]) -> list[int]:
        """The answer as a user of transformers gets it."""
        out = self.prefix_cache.generate(torch.tensor([list(prompt)]), max_new_tokens=self.spec.answer_tokens, do_sample=False)
        return [int(t) for t in out[0, len(prompt) :]]

    def second_turn(self) -> dict[str, Any]:
        """Go on with the conversation: the first turn, answer included, is restored; only the new question is computed."""
        prompt = self.talk.second_prompt(self.recorded["said"])
        self.report.stage("the next question")
        restored = self.restore(prompt, cold=True)
        text = self.say(restored.cache, restored.answer.token)
        cache, answer, computed_s = self.compute(prompt, f"computing its {len(prompt):,} tokens without the store, to compare")
        plain = self.say(cache, answer.token)
        return {
            "question": self.talk.follow_up,
            "text": self.talker.tokenizer.decode([t for t in text if t != self.talker.stop]).strip(),
            "prompt_tokens": len(prompt),
            "restored_tokens": restored.tokens,
            "ttft_s": restored.ttft_s,
            "computed_s": computed_s,
            "same_text": text == plain,
        }


def run_second(spec: Spec, report: Reporter) -> dict[str, Any]:
    """Do the second process's work; the measurements and what the checks need."""
    torch.set_num_threads(spec.threads)
    report.stage("loading the model")
    talker = load(spec.model, Path(spec.model_dir) if spec.model_dir else None)
    prompt = converse(talker, spec.tokens, spec.page_tokens).prompt
    with torch.inference_mode():
        warm_up(talker.model, lambda: DynamicCache(config=talker.model.config))
        start = now()
        with open_store(spec, talker.model, prompt) as store:
            open_s = now() - start
            work = SecondProcess(spec, report, talker, store)
            first, second = work.first_turn(), work.second_turn()
            stats = asdict(store.stats())
    return {**first, "open_s": open_s, "second_turn": second, "stats": stats}
