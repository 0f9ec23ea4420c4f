"""The committed result of a trial: a small JSON file, and what is held against it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lsmkv.controller import Prices
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.phases.live import LiveOutcome
from lsmkv.lab.phases.sequences import draw_sequence
from lsmkv.lab.phases.trial import AIM, MUST, STRATEGIES, Outcome, Spread, constants_seed, spread, try_sequence
from lsmkv.lab.tidy import Record, Rows, digest, version

__all__ = ["BETTER_THAN_LEVELING", "Result", "check", "load_result", "save_result"]

BETTER_THAN_LEVELING = 1.2
"""So many times cheaper than leveling at 10 the default has to be, on average over the sequences."""


FEWEST, FEWEST_LIVE = 30, 5
"""Sequences of a result that is published, and how many of them ran in the engine, too."""


@dataclass(frozen=True, slots=True)
class Result:
    """A whole trial."""

    seed: str
    sequences: tuple[Outcome, ...]
    engine: tuple[LiveOutcome, ...] = ()
    version: str = field(default_factory=version)
    """Of lsmkv, that made it."""

    def ratios(self, strategy: str) -> list[float]:
        """One strategy's ratios."""
        return [one.ratios[strategy] for one in self.sequences]

    def spread(self, strategy: str) -> Spread:
        """One strategy's mean, 90th percentile and maximum."""
        return spread(self.ratios(strategy))

    @property
    def gain(self) -> float:
        """How many times cheaper the default is than leveling at 10, on average."""
        pairs = zip(self.ratios("leveling at 10"), self.ratios("default"), strict=True)
        gains = [leveling / default for leveling, default in pairs]
        return sum(gains) / len(gains)

    def misses(self) -> list[str]:
        """Targets that are missed, in words."""
        told = self.spread("default")
        found = []
        for name, limits in (("must", MUST), ("aim", AIM)):
            parts = zip(("mean", "90th percentile", "maximum"), (told.mean, told.p90, told.most), limits, strict=True)
            found += [f"{name}: {what} {value:.3f} > {limit}" for what, value, limit in parts if value > limit]
        if self.gain < BETTER_THAN_LEVELING:
            found.append(f"must: {self.gain:.3f} times better than leveling at 10 < {BETTER_THAN_LEVELING}")
        return found

    def rows(self) -> Rows:
        """Tidy rows: a ratio of each strategy in each sequence, in the simulator and in the engine."""
        told: list[Record] = []
        for one in self.sequences:
            settings = {"entries": None, "writes": _writes(one), "phases": one.phases, "arrivals": one.arrivals}
            told += [self._row("simulator", one, who, ratio, settings) for who, ratio in one.ratios.items()]
        phases = {one.number: one.phases for one in self.sequences}
        for live in self.engine:
            settings = {"entries": live.entries, "writes": _writes(live), "phases": phases.get(live.number), "arrivals": None}
            ratios = {"default": live.default, "leveling at 10": live.leveling}
            told += [self._row("engine", live, who, ratio, settings) for who, ratio in ratios.items()]
        return Rows("phases", tuple(told))

    def _row(self, where: str, one: Outcome | LiveOutcome, who: str, ratio: float, settings: Mapping[str, object]) -> Record:
        """One of them."""
        return {
            "experiment": "phases",
            "where": where,
            "sequence": one.number,
            "who": who,
            "ratio": ratio,
            "best": one.best,
            **settings,
            "seed": self.seed,
            "version": self.version,
            "config": digest({**settings, "where": where, "prices": asdict(Prices()), "sequence": one.number}),
        }

    def to_dict(self) -> dict[str, object]:
        """JSON-ready, with the summary that people look for."""
        summary = {name: {key: round(value, 4) for key, value in asdict(self.spread(name)).items()} for name in STRATEGIES}
        return {
            "constants_sha256": constants_seed(),
            "seed": self.seed,
            "version": self.version,
            "prices": asdict(Prices()),
            "summary": summary,
            "better_than_leveling_at_10": round(self.gain, 4),
            "misses": self.misses(),
            "sequences": [one.to_dict() for one in self.sequences],
            "engine": [one.to_dict() for one in self.engine],
        }


def save_result(result: Result, path: Path) -> None:
    """Write the file. OSError. I/O: one file."""
    path.write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")


def load_result(path: Path) -> tuple[Result, str]:
    """A file's result and the hash of the constants that it was made with.

    Raises InvalidArgumentError for a file that is no result, OSError. I/O: reads it.
    """
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sequences = tuple(_made(Outcome, one) for one in told["sequences"])
        engine = tuple(_made(LiveOutcome, one) for one in told["engine"])
        found = Result(str(told["seed"]), sequences, engine, str(told["version"])), str(told["constants_sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidArgumentError(f"{path} is no result of `lsmkv lab phases --out`: {error!r}") from error
    if not sequences:
        raise InvalidArgumentError(f"{path} has no sequences: `lsmkv lab phases --out` writes some")
    return found


def check(path: Path) -> list[str]:
    """What is wrong with a committed result: made with other constants, not what this version plays, cut short, a target missed.

    The first sequence is played again. Raises as :func:`load_result`. I/O: reads it.
    """
    result, made_with = load_result(path)
    again = f"lsmkv lab phases --engine {FEWEST_LIVE} --out {path}"
    if made_with != constants_seed():
        return [f"lsmkv/controller/constants.py has changed since {path} was made: run `{again}` and look at what it says"]
    if result.seed != made_with:
        return [f"{path} is no trial to publish: its seed {result.seed!r} was chosen, not the hash of the constants"]
    found = [text for text in result.misses() if text.startswith("must")]
    if len(result.sequences) < FEWEST:
        found.append(f"{path} has {len(result.sequences)} sequences, not {FEWEST}: run `{again}` to its end")
    if len(result.engine) < FEWEST_LIVE:
        found.append(f"{path} has {len(result.engine)} sequences in the engine, not {FEWEST_LIVE}: run `{again}` to its end")
    first = result.sequences[0]
    if try_sequence(draw_sequence(result.seed, first.number)) != first:
        found.append(f"sequence {first.number} does not play as {path} says: run `{again}` again")
    return found


def _writes(one: Outcome | LiveOutcome) -> str:
    """What writes do."""
    return "overwrite" if one.overwrites else "add keys"


def _made(kind: type[Any], told: Mapping[str, Any]) -> Any:  # noqa: ANN401 - one of two records
    """A record from its dict."""
    return kind(**{field.name: told[field.name] for field in fields(kind)})
