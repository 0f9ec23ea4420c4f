"""A lesson as data: its folder, the code in its README, and whether that code does what the README says.

A fenced ``python`` or ``sh`` block is run, in the order of the page, in an empty directory. Python blocks of a page share
their names, as if typed into one session. ``sh`` blocks hold ``lsmkv`` commands, one a line. A ``text`` block right behind
a block is what it prints; a line of three dots in it stands for any lines.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from lsmkv.cli.app import build

__all__ = ["Block", "Lesson", "Told", "lessons", "play"]

HERE = Path(__file__).parent
_BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```\n(?:\s*^```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_DECIMAL = re.compile(r"(?<![\w.])\d[\d,]*\.\d+(?![\w.])")
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class Block:
    """Some code of a page."""

    kind: str
    code: str
    line: int
    """Of its first line of code, counted from 1."""
    expected: str | None
    """What it prints according to the page; None: the page does not say."""
    span: tuple[int, int] | None
    """Where in the page that stands."""


@dataclass(frozen=True)
class Told:
    """What a block really printed; ``problem``: how that differs from the page, or how the block failed."""

    block: Block
    printed: str
    problem: str | None
    failed: bool = False

    @property
    def can_be_written(self) -> bool:
        """Whether the page may show what was printed, as it stands: it shows output, all of it, and the block ran to its end."""
        return self.block.expected is not None and "...\n" not in self.block.expected and not self.failed


@dataclass(frozen=True)
class Lesson:
    """A folder with ``README.md``, a picture, ``exercise.py``, ``solution.py`` and ``test_exercise.py``."""

    folder: Path

    @property
    def name(self) -> str:
        """Its number and subject."""
        return self.folder.name

    @property
    def page(self) -> str:
        """Its README."""
        return (self.folder / "README.md").read_text(encoding="utf-8")

    def blocks(self) -> list[Block]:
        """The code of the page that is run."""
        page = self.page
        return [
            Block(
                kind=found[1],
                code=found[2],
                line=page.count("\n", 0, found.start(2)) + 1,
                expected=found[3],
                span=None if found[3] is None else found.span(3),
            )
            for found in _BLOCK.finditer(page)
        ]

    def unfounded_figures(self, told: list[Told]) -> list[str]:
        """Decimal fractions in the page's sentences that no block prints and no code holds, rounded as they stand there."""
        shown = " ".join([one.printed for one in told] + [one.block.code for one in told]).replace(",", "")
        known = [float(number) for number in _NUMBER.findall(shown)]
        prose = re.sub(r"`[^`]*`|\]\([^)]*\)", "", _FENCED.sub("", self.page))
        return [said for said in _DECIMAL.findall(prose) if not any(_rounds_to(one, said.replace(",", "")) for one in known)]


def _rounds_to(number: float, said: str) -> bool:
    """Whether ``said`` is ``number``, or that in per cent, to as many digits."""
    digits = len(said.partition(".")[2])
    return any(abs(value - float(said)) <= 0.5000001 * 10**-digits for value in (number, 100 * number))


def lessons(wanted: list[str] | None = None) -> list[Lesson]:
    """All lessons in order, or those whose folder begins with one of ``wanted`` (``3`` means ``03``)."""
    found = [Lesson(page.parent) for page in sorted(HERE.glob("[0-9][0-9]-*/README.md"))]
    if not wanted:
        return found
    starts = tuple(want.zfill(2) if want.isdecimal() else want for want in wanted)
    return [lesson for lesson in found if lesson.name.startswith(starts)]


def play(lesson: Lesson, directory: Path, progress: Callable[[int, int], None] | None = None) -> list[Told]:
    """Run the code of a page in ``directory``, up to the first block that fails; wrong output alone ends nothing."""
    names: dict[str, object] = {"__name__": "__lesson__"}
    blocks, told = lesson.blocks(), []
    page = str(lesson.folder / "README.md")
    for number, block in enumerate(blocks):
        if progress is not None:
            progress(number, len(blocks))
        out = io.StringIO()
        try:
            with contextlib.chdir(directory), contextlib.redirect_stdout(out):
                if block.kind == "python":
                    exec(compile("\n" * (block.line - 1) + block.code, page, "exec"), names)
                else:
                    _commands(block.code)
        except Exception as error:
            told.append(Told(block, out.getvalue(), f"{type(error).__name__}: {error}", failed=True))
            return told
        printed = "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())
        told.append(Told(block, printed, _difference(block.expected, printed)))
    return told


def _commands(code: str) -> None:
    """Run ``lsmkv`` commands inside this process; RuntimeError for one that fails, or is another program's."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] != "lsmkv":
            raise RuntimeError(f"`{line}`: lessons run lsmkv commands only")
        ran = CliRunner().invoke(build(), words[1:])
        sys.stdout.write(ran.output)
        if ran.exit_code:
            raise RuntimeError(f"`{line}` ends with exit code {ran.exit_code}: {ran.output or ran.exception}")


def _difference(expected: str | None, printed: str) -> str | None:
    """How what was printed differs from what the page says, or None."""
    if expected is None:
        return None
    parts = [re.escape(part) for part in re.split(r"(?m)^\.\.\.\n", expected)]
    if re.fullmatch(r"(?:.*\n)*?".join(parts), printed):
        return None
    return f"the page says\n{expected}\nbut it prints\n{printed}"
