"""Run the lessons: ``python docs/lessons/run.py [LESSON ...]``, or ``make lessons``.

For each lesson the code of its page must run and print what the page says, its picture must be what its script draws, and the
test of its exercise must pass with the solution and fail with the starter code. ``--write`` puts what was printed into the pages,
``--draw`` draws the pictures again.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree as ET

from book import Lesson, Told, lessons, play
from rich.console import Console
from rich.progress import Progress

STARTER_PASSES = (
    "the test passes with exercise.py. If you solved it: well done (keep your work, `git checkout` brings the starter code "
    "back). If not: this test checks nothing."
)


@dataclass
class Outcomes:
    """What became of the tests of one lesson."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Tests that could not begin, because the code does not load."""


def exercises(chosen: list[Lesson], *, solution: bool) -> dict[str, Outcomes]:
    """Run the tests of the exercises, with the solutions or with the starter code, by lesson; in a process of its own."""
    found, where = {one.name: Outcomes() for one in chosen}, chosen[0].folder.parent
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = [*(str(one.folder) for one in chosen), *(["--solution"] if solution else []), f"--junitxml={report}"]
        words += [
            "--import-mode=importlib",
            "--tb=short",
            "-p",
            "no:cacheprovider",
            f"--rootdir={where}",
            f"--confcutdir={where}",
        ]
        ran = subprocess.run([sys.executable, "-m", "pytest", *words], check=False, capture_output=True, text=True)
        if not report.exists():
            raise RuntimeError(f"pytest did not run: {ran.stdout}{ran.stderr}")
        cases = list(ET.parse(report).iter("testcase"))
    for case in cases:
        test = f"{case.get('classname')}.{case.get('name')}"
        outcomes = next(outcomes for name, outcomes in found.items() if name in test)
        failure, error = case.find("failure"), case.find("error")
        if failure is not None:
            outcomes.failed.append(f"{test}\n{failure.text}")
        elif error is not None:
            outcomes.broken.append(f"{test}\n{error.text}")
        else:
            outcomes.passed += 1
    return found


def judge_exercises(chosen: list[Lesson]) -> dict[str, list[str]]:
    """What is wrong with the exercises, by lesson."""
    solved, starter = exercises(chosen, solution=True), exercises(chosen, solution=False)
    problems: dict[str, list[str]] = {}
    for name in solved:
        found = [f"fails with solution.py: {why}" for why in solved[name].failed]
        found += [f"does not run with solution.py: {why}" for why in solved[name].broken]
        found += [f"exercise.py does not load: {why}" for why in starter[name].broken]
        if not solved[name].passed:
            found.append("no test passes with solution.py")
        if not starter[name].failed:
            found.append(STARTER_PASSES)
        problems[name] = found
    return problems


def judge_page(lesson: Lesson, told: list[Told]) -> list[str]:
    """What is wrong with a page, given what its blocks did."""
    found = [f"README.md line {one.block.line}: {one.problem}" for one in told if one.problem]
    found += [f"README.md says {figure}, which nothing prints" for figure in lesson.unfounded_figures(told)]
    return found


def judge_picture(lesson: Lesson) -> list[str]:
    """What is wrong with a picture."""
    file = lesson.folder / "picture.svg"
    if file.exists() and file.read_text(encoding="utf-8") == drawn(lesson):
        return []
    return [f"picture.svg is not what picture.py draws: draw it again (python docs/lessons/run.py --draw {lesson.name})"]


def rewrite(lesson: Lesson, told: list[Told]) -> None:
    """Put what was printed into the page, where it shows output without dots."""
    page = lesson.page
    for one in reversed(told):
        if one.block.span is not None and one.can_be_written:
            start, stop = one.block.span
            page = page[:start] + one.printed + page[stop:]
    (lesson.folder / "README.md").write_text(page, encoding="utf-8")


def draw(lesson: Lesson) -> None:
    """Write the picture of a lesson again."""
    (lesson.folder / "picture.svg").write_text(drawn(lesson), encoding="utf-8")


def drawn(lesson: Lesson) -> str:
    """The picture as ``picture.py`` of the lesson draws it."""
    spec = importlib.util.spec_from_file_location(f"picture_{lesson.name[:2]}", lesson.folder / "picture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return str(module.picture())


def main(words: list[str]) -> int:
    """The exit code: 0 if all is well."""
    parser = argparse.ArgumentParser(prog="run.py", description="Run the lessons.")
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="such as 3 or 05-policies; all, if none is named")
    parser.add_argument("--write", action="store_true", help="put what was printed into the pages")
    parser.add_argument("--draw", action="store_true", help="draw the pictures again, and nothing else")
    asked = parser.parse_args(words)
    chosen = lessons(asked.lessons)
    if not chosen:
        parser.error(f"there is no lesson {' '.join(asked.lessons)}: try 1 to {len(lessons())}")
    if asked.draw:
        for lesson in chosen:
            draw(lesson)
        return 0
    console = Console()
    problems: dict[str, list[str]] = {}
    with Progress(console=console, transient=True) as bar:
        line = bar.add_task("lessons", total=len(chosen))
        for lesson in chosen:
            bar.update(line, description=lesson.name)
            with tempfile.TemporaryDirectory() as folder:
                told = play(lesson, Path(folder))
            if asked.write:
                rewrite(lesson, told)
                told = [replace(one, problem=None) if one.can_be_written else one for one in told]
            problems[lesson.name] = judge_page(lesson, told) + judge_picture(lesson)
            bar.advance(line)
        bar.update(line, description="exercises")
        for name, found in judge_exercises(chosen).items():
            problems[name] += found
    for name, found in problems.items():
        console.print(f"{name}: {'NOT WELL' if found else 'well'}", highlight=False)
        for problem in found:
            console.print(problem, markup=False, highlight=False, soft_wrap=True)
    return 1 if any(problems.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
