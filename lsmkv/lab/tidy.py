"""What experiments return: tidy rows, one observation each, with everything that is needed to repeat it.

Every row has ``seed``, ``version`` and ``config`` (a short digest of all settings), besides the settings that vary.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, TypeAlias

from lsmkv.errors import InvalidArgumentError

__all__ = ["Record", "Rows", "digest", "version"]

Record: TypeAlias = Mapping[str, object]
"""One observation; values are numbers, words or None."""

DIGITS = 6
"""Significant ones of a fraction in a CSV file."""


def version() -> str:
    """The version of lsmkv that is installed."""
    try:
        return installed("lsmkv")
    except PackageNotFoundError:
        return "source"


def digest(settings: Mapping[str, object]) -> str:
    """Eight characters that tell settings apart."""
    return sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Rows(Sequence[Record]):
    """The rows of an experiment: a sequence of mappings."""

    experiment: str
    """Which one: it decides what :meth:`plot` draws."""
    rows: tuple[Record, ...]

    def __len__(self) -> int:
        """How many."""
        return len(self.rows)

    def __getitem__(self, at: Any) -> Any:  # noqa: ANN401 - an index gives a row, a slice several
        """A row, or several."""
        return self.rows[at]

    def __iter__(self) -> Iterator[Record]:
        """One after the other."""
        return iter(self.rows)

    @property
    def columns(self) -> list[str]:
        """Names of all values, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def where(self, **values: object) -> list[Record]:
        """The rows with these values."""
        return [row for row in self.rows if all(row.get(name) == value for name, value in values.items())]

    def to_csv(self, file: str | Path | None = None) -> str:
        """The rows as CSV, names first; also written to ``file`` if one is given. I/O: writes that file."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_cell(row.get(name)) for name in self.columns] for row in self.rows)
        if file is not None:
            Path(file).write_text(out.getvalue(), encoding="utf-8")
        return out.getvalue()

    @classmethod
    def from_csv(cls, experiment: str, file: str | Path) -> Rows:
        """Rows that :meth:`to_csv` wrote. I/O: reads the file.

        Raises InvalidArgumentError for a file without a row, one that is no such CSV, and rows of another experiment.
        """
        try:
            with Path(file).open(encoding="utf-8", newline="") as lines:
                found = list(csv.DictReader(lines))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InvalidArgumentError(f"{file}: is no CSV ({error})") from error
        if not found:
            raise InvalidArgumentError(f"{file}: holds no rows")
        for number, row in enumerate(found, 2):
            if None in row or None in row.values():
                raise InvalidArgumentError(f"{file}: row {number} has not as many values as the first row has names")
            if row.get("experiment", experiment) != experiment:
                raise InvalidArgumentError(f"{file}: row {number} is of the experiment {row['experiment']!r}, not {experiment!r}")
        return cls(experiment, tuple({name: _value(text) for name, text in row.items()} for row in found))

    def to_pandas(self) -> Any:  # noqa: ANN401 - an optional package
        """A ``pandas.DataFrame``. Raises InvalidArgumentError where pandas is not installed."""
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise InvalidArgumentError("to_pandas() needs pandas: pip install pandas (or use to_csv())") from error
        return pandas.DataFrame([dict(row) for row in self.rows], columns=self.columns)

    def plot(self, directory: str | Path) -> list[Path]:
        """Draw the experiment's pictures as PNG files in ``directory``, which is made; their paths.

        Raises InvalidArgumentError without matplotlib (extra ``plot``).

        I/O: writes the files.
        """
        from lsmkv.lab.plots import draw  # noqa: PLC0415 - drawing is for those who ask for it

        return draw(self, Path(directory))


def _cell(value: object) -> object:
    """A value in a CSV file."""
    if value is None:
        return ""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _value(text: str) -> object:
    """What a cell of a CSV file was."""
    if not text:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
