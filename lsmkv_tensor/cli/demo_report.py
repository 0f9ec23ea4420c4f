"""What the demo found, as one record: the same for the screen and for ``--json``.

Every check compares measured things; a check that fails makes the demo fail.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

__all__ = ["LEAST_SPEED_UP", "Check", "Report", "evaluate", "megabytes_per_s"]

LEAST_SPEED_UP: Final = 10.0
"""How much sooner the first token must come from a restored prefix, cold, with the real model. The random model is too small
for its prefill to be worth anything, so nothing is asked of it."""


@dataclass(frozen=True)
class Check:
    """One thing that must hold."""

    name: str
    ok: bool
    told: str
    """What was compared, with its numbers."""


@dataclass(frozen=True)
class Report:
    """Everything measured and every check."""

    numbers: dict[str, Any]
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks], **self.numbers}


def megabytes_per_s(count: float, seconds: float) -> float:
    """Bytes and seconds as MB/s."""
    return count / 1e6 / seconds


def evaluate(model: str, first: dict[str, Any], second: dict[str, Any]) -> Report:
    """Turn what both processes found into the report."""
    numbers = _numbers(model, first, second)
    return Report(numbers, tuple(_checks(numbers, first, second)))


def _numbers(model: str, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Medians, rates and ratios."""
    kv_bytes, tokens, prompt = first["kv_bytes"], first["tokens"], first["prompt_tokens"]
    computed = [first["computed_s"], *second["computed_s"]]
    ttft = median(computed)
    per_token = kv_bytes / tokens

    def restored(name: str) -> dict[str, Any]:
        """One temperature: times, rates, speed-up."""
        found, raw = second[name], second["reads"]
        return {
            "ttft_s": median(found["ttft_s"]),
            "ttft_runs_s": found["ttft_s"],
            "restore_s": median(found["restore_s"]),
            "speed_up": ttft / median(found["ttft_s"]),
            "device_bytes": found["device_bytes"],
            "read_mb_s": _rate(kv_bytes, raw["store"][f"{name}_s"]),
            "torch_load_mb_s": _rate(kv_bytes, raw["torch"][f"{name}_s"]),
            "torch_load_s": median(raw["torch"][f"{name}_s"]),
        }

    cold = restored("cold")
    return {
        "model": model,
        "title": first["title"],
        "machine": {"system": platform.system(), "processor": platform.machine(), "python": platform.python_version()},
        "torch": first["torch"],
        "threads": first["threads"],
        "tokens": {"prompt": prompt, "restored": second["restored_tokens"], "computed": prompt - second["restored_tokens"]},
        "kv_bytes": kv_bytes,
        "kv_bytes_per_token": per_token,
        "pages_stored": first["pages_stored"],
        "ttft_computed_s": ttft,
        "ttft_computed_runs_s": computed,
        "cold": cold,
        "warm": restored("warm"),
        "speed_up": cold["speed_up"],
        "open_s": second["open_s"],
        "save": {"accepted_s": first["accepted_s"], "synced_s": first["saved_s"]}
        | {"mb_s": _save_rate(first), "torch_save_s": first["torch_save_s"]}
        | {"torch_save_mb_s": megabytes_per_s(kv_bytes, first["torch_save_s"])},
        "disk_bytes": first["disk_bytes"],
        "torch_file_bytes": first["torch_file_bytes"],
        "prefill_tokens_per_s": prompt / ttft,
        "break_even_mb_s": per_token * prompt / ttft / 1e6,
        "digest": first["digest"],
        "logits_difference": second["logits_difference"],
        "turns": [
            {"question": first["question"], "answer": first["text"]},
            {"question": second["second_turn"]["question"], "answer": second["second_turn"]["text"]},
        ],
        "second_turn": second["second_turn"],
        "store_stats": second["stats"],
    }


def _rate(count: int, seconds: Sequence[float]) -> float:
    """MB/s of the median time."""
    return megabytes_per_s(count, median(seconds))


def _save_rate(first: dict[str, Any]) -> float | None:
    """MB/s of storing; None when (with ``--keep``) pages were there already and so not written."""
    written = first["pages_stored"] * first["page_bytes"]
    return megabytes_per_s(written, first["saved_s"]) if written >= first["kv_bytes"] else None


def _checks(numbers: dict[str, Any], first: dict[str, Any], second: dict[str, Any]) -> list[Check]:
    """What must hold."""
    answers, turn, stored = second["answers"], second["second_turn"], first["conversation_tokens"]
    same = all(answer == first["answer"] for answer in answers.values())
    difference, tolerance = second["logits_difference"], second["tolerance"]
    checks = [
        Check(
            "restored bytes",
            second["digest"] == first["digest"],
            f"SHA-256 of the {first['kv_bytes']:,} restored bytes is the one recorded when they were saved"
            f" ({first['digest'][:16]}, found {second['digest'][:16]})",
        ),
        Check(
            "recomputed KV",
            second["bit_equal"],
            "computed again with the same prefill shape and threads, the KV cache equals the restored one bit for bit",
        ),
        Check(
            "logits",
            difference <= tolerance,
            f"after the restored prefix they differ by at most {difference:.1e} from a full prefill's (allowed {tolerance:.0e})",
        ),
        Check(
            "same answer",
            same,
            f"{len(first['answer'])} tokens: first process, restored, PrefixCache.generate, and without any cache",
        ),
        Check(
            "next question",
            bool(turn["same_text"]) and turn["restored_tokens"] == stored,
            f"{turn['restored_tokens']:,} of {turn['prompt_tokens']:,} tokens restored, {stored:,} were stored;"
            " same answer with and without the store",
        ),
    ]
    if numbers["model"] != "random":
        told = f"{numbers['speed_up']:.1f}x sooner from a cold disk (at least {LEAST_SPEED_UP:.0f}x is asked)"
        checks.append(Check("time to first token", numbers["speed_up"] >= LEAST_SPEED_UP, told))
    return checks
