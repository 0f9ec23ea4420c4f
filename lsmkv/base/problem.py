"""Something wrong with a file, as checks and repairs tell it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Problem"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong: in which file, at which byte (-1: the file as a whole), and what."""

    file: str
    offset: int
    what: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.file}" + (f" at byte {self.offset}" if self.offset >= 0 else "") + f": {self.what}"
