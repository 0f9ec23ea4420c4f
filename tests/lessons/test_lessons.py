"""docs/lessons: the pages do what they say, pictures are what their scripts draw, exercises fail unsolved and pass solved."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

LESSONS = Path(__file__).parents[2] / "docs/lessons"
FOLDERS = sorted(page.parent for page in LESSONS.glob("[0-9][0-9]-*/README.md"))
PARTS = ["## Predict", "## Try it", "<details>", "(picture.svg)", "## Exercise", "[`solution.py`](solution.py)"]


@pytest.fixture(scope="module")
def runner() -> Iterator[ModuleType]:
    """The script behind ``make lessons``."""
    sys.path.insert(0, str(LESSONS))
    yield importlib.import_module("run")
    sys.path.remove(str(LESSONS))


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    """Each lesson in turn."""
    return request.param


def test_a_page_has_all_parts_in_order(folder: Path) -> None:
    page = (folder / "README.md").read_text()
    places = [page.find(part) for part in ("# Lesson", "## Predict", "## Try it", "<details>", "## Exercise")]
    assert -1 not in places
    assert places == sorted(places), "the question comes before its answer"
    assert all(part in page for part in PARTS)
    assert f"docs/lessons/{folder.name}\n" in page, "it says how to run the test"


def test_a_page_does_what_it_says(folder: Path, runner: ModuleType, tmp_path: Path) -> None:
    lesson = runner.Lesson(folder)
    told = runner.play(lesson, tmp_path)
    assert len(told) == len(lesson.blocks()) > 1
    assert runner.judge_page(lesson, told) == []
    assert any(one.block.expected for one in told)


def test_a_picture_is_small_and_says_what_it_shows(folder: Path) -> None:
    drawn = (folder / "picture.svg").read_text()
    assert len(drawn.encode()) < 60_000
    assert "<title>" in drawn


def test_pictures_are_what_their_scripts_draw(runner: ModuleType, tmp_path: Path) -> None:  # of one; `make lessons` looks at all
    assert runner.judge_picture(runner.Lesson(FOLDERS[0])) == []
    copied = tmp_path / FOLDERS[0].name
    shutil.copytree(FOLDERS[0], copied)
    (copied / "picture.svg").write_text("<svg/>")
    assert "--draw" in runner.judge_picture(runner.Lesson(copied))[0]
    runner.draw(runner.Lesson(copied))
    assert runner.judge_picture(runner.Lesson(copied)) == []


def test_exercises_fail_unsolved_and_pass_solved(runner: ModuleType) -> None:
    found = runner.judge_exercises(runner.lessons())
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_exercises_are_small(folder: Path) -> None:
    solution = (folder / "solution.py").read_text()
    lines = [line for line in solution.splitlines() if line.strip() and not re.match(r'\s*(#|"""|import|from)', line)]
    assert len(lines) <= 45


def test_the_index_names_every_lesson(folder: Path) -> None:
    assert f"({folder.name}/README.md)" in (LESSONS / "README.md").read_text()


PAGE = """# Lesson
It prints 0.25, or 25.0 %.
```python
x = 1 / 4
print(x)
print("more")
```

```text
{}
```
"""


@pytest.mark.parametrize(
    ("expected", "well"), [("0.25\nmore", True), ("...\nmore", True), ("0.25\n...", True), ("0.26\nmore", False), ("0.25", False)]
)
def test_wrong_output_is_found(runner: ModuleType, tmp_path: Path, expected: str, well: bool) -> None:
    (tmp_path / "README.md").write_text(PAGE.format(expected))
    lesson = runner.Lesson(tmp_path)
    told = runner.play(lesson, tmp_path)
    assert (runner.judge_page(lesson, told) == []) == well


def test_wrong_figures_failing_code_and_other_commands_are_found(runner: ModuleType, tmp_path: Path) -> None:
    page = PAGE.format("0.25\nmore").replace("0.25, or", "0.24, or")
    (tmp_path / "README.md").write_text(page + "```python\nx / 0\n```\n```python\nx\n```\n")
    lesson = runner.Lesson(tmp_path)
    told = runner.play(lesson, tmp_path)
    line = page.count("\n") + 2
    assert runner.judge_page(lesson, told) == [
        f"README.md line {line}: ZeroDivisionError: float division by zero",
        "README.md says 0.24, which nothing prints",
    ]
    (tmp_path / "README.md").write_text("```sh\nrm -r elsewhere\n```\n")
    assert "lessons run lsmkv commands only" in runner.play(lesson, tmp_path)[0].problem
    (tmp_path / "README.md").write_text("```sh\nlsmkv stats nowhere\n```\n")
    assert "exit code" in runner.play(lesson, tmp_path)[0].problem


def test_writing_a_page_puts_in_what_was_printed_but_not_what_failed(runner: ModuleType, tmp_path: Path) -> None:
    failing = "```python\nprint(1)\nx / 0\n```\n\n```text\n2\n```\n"
    (tmp_path / "README.md").write_text(PAGE.format("old") + PAGE.format("...\nolder") + failing)
    lesson = runner.Lesson(tmp_path)
    runner.rewrite(lesson, runner.play(lesson, tmp_path))
    assert lesson.page == PAGE.format("0.25\nmore") + PAGE.format("...\nolder") + failing


MADE_UP = [
    ("01-good", "x = 1", "x = 2", []),
    ("02-wrong-solution", "x = 2", "x = 2", ["fails with solution.py", "no test passes with solution.py"]),
    ("03-solved-already", "x = 1", "x = 1", ["the test passes with exercise.py"]),
    ("04-broken-starter", "x = 1", "1 / 0", ["exercise.py does not load", "the test passes with exercise.py"]),
    ("05-broken-solution", "1 / 0", "x = 2", ["does not run with solution.py", "no test passes with solution.py"]),
]


def test_wrong_exercises_are_found(runner: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((LESSONS / "conftest.py").read_text())
    made = []
    for name, solution, starter, _ in MADE_UP:
        (tmp_path / name).mkdir()
        (tmp_path / name / "solution.py").write_text(solution)
        (tmp_path / name / "exercise.py").write_text(starter)
        (tmp_path / name / "test_exercise.py").write_text("def test_it(work):\n    assert work.x == 1\n")
        made.append(runner.Lesson(tmp_path / name))
    found = runner.judge_exercises(made)
    for name, _, _, problems in MADE_UP:
        assert len(found[name]) == len(problems), found[name]
        assert all(told.startswith(said) for told, said in zip(found[name], problems, strict=True)), name


def test_there_are_eight_from_memtable_to_controller() -> None:
    assert [folder.name[:2] for folder in FOLDERS] == [f"{number:02}" for number in range(1, 9)]
    assert FOLDERS[0].name.endswith("memtable")
    assert FOLDERS[-1].name.endswith("controller")
