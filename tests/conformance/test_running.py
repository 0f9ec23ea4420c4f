"""Cases in processes of their own, results in a file, the table, and the two command lines."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.testing.conformance import CASES, NotApplicableError, run_isolated
from lsmkv_tensor.testing.conformance.__main__ import main
from lsmkv_tensor.testing.conformance.damage import stalled_by_pipes
from lsmkv_tensor.testing.conformance.own import PageStoreSubject
from lsmkv_tensor.testing.conformance.plugin import pytest_configure
from lsmkv_tensor.testing.conformance.results import keep, load_results, markdown
from lsmkv_tensor.testing.conformance.running import subject_of
from lsmkv_tensor.testing.conformance.trial import page
from tests.conformance.backends import Good, Of

ROOT = Path(__file__).parents[2]
HERE = "tests.conformance.test_running"


class Crashes(Good):
    def get(self, keys, out, deadline_s):
        os._exit(7)


class Hangs(Good):
    def put(self, keys, pages):
        while True:
            self.readers.submit(int).result()


class NoDeletes(Good):
    """Its engine has no such call."""

    def delete(self, keys):
        raise NotApplicableError("it has no delete")


class Config:
    """Pytest's, as far as it is asked."""

    def __init__(self, given):
        self.given = {"--backend": None, "--case-seconds": 60.0} | given

    def getoption(self, name):
        return float(self.given[name]) if name == "--case-seconds" else self.given[name]


def no_deletes():
    return Of(NoDeletes)


def bad_subject():
    raise ImportError("libnothing.so is missing")


def test_a_crash_and_a_hang_are_failures_of_their_case(tmp_path):
    (crash,) = run_isolated(Of(Crashes), ["round trip"], root=tmp_path)
    assert (crash.outcome, crash.why) == ("fail", "the process ended with exit code 7")
    (hang,) = run_isolated(Of(Hangs), ["round trip"], limit_s=0.3, root=tmp_path)
    assert (hang.outcome, hang.why) == ("fail", "not done after 0.3 s: it hangs")


def test_our_own_store_passes(tmp_path):
    class Small(PageStoreSubject):
        page_bytes, capacity_bytes, deadline_s, quiet_s = 8192, 4 << 20, 0.1, 0.1

    verdicts = run_isolated(Small(), ["restart", "bit flip", "deadline", "memory after return"], root=tmp_path)
    assert [v.outcome for v in verdicts] == ["pass"] * 4, verdicts


def test_results_are_kept_side_by_side_and_told_in_a_table(tmp_path, capsys):
    file = tmp_path / "results.json"
    cases = ["--case", "restart", "--case", "delete accounting"]
    code = main([f"{HERE}:no_deletes", f"{HERE}:bad_subject", "--json", str(file), "--path", str(tmp_path), *cases])
    assert code == 2
    assert "cannot be loaded: ImportError: libnothing.so is missing" in capsys.readouterr().err
    assert main([f"{HERE}:no_deletes", "--json", str(file), "--path", str(tmp_path), "--case", "bit flip"]) == 0
    first, second = load_results(file)
    assert (second["refused"], set(first["cases"])) == (
        "ImportError: libnothing.so is missing",
        {"restart", "delete accounting", "bit flip"},
    )
    text = markdown(load_results(file))
    assert "| restart | yes |" in text
    assert "| delete accounting | n/a |" in text
    assert "| capacity | - |" in text
    assert "it has no delete" in text
    assert "libnothing.so" in text


@pytest.mark.parametrize("option", ["--path", "--json", "--seconds"])
def test_what_would_lose_the_results_is_refused_before_anything_runs(tmp_path, capsys, option):
    (tmp_path / "other.json").write_text("[1]")
    wrong = {"--path": tmp_path / "nowhere", "--json": tmp_path / "other.json", "--seconds": 0}[option]
    with pytest.raises(SystemExit, match="2"):
        main([f"{HERE}:no_deletes", option, str(wrong), "--case", "restart"])
    told = capsys.readouterr()
    assert (told.out, f"{option} {wrong}: " in told.err) == ("", True)
    with pytest.raises(SystemExit, match="2"):
        main([f"{HERE}:no_deletes", "--json", str(tmp_path / "no" / "r.json")])


def test_results_go_into_an_empty_file(tmp_path):
    """A run that was stopped leaves one."""
    file = tmp_path / "results.json"
    file.touch()
    assert main([f"{HERE}:no_deletes", "--json", str(file), "--path", str(tmp_path), "--case", "restart"]) == 0
    assert [entry["name"] for entry in load_results(file)] == [no_deletes().name]


def test_a_refused_backend_that_runs_later_is_no_longer_refused(tmp_path):
    file = tmp_path / "results.json"
    keep(file, {"name": "a", "version": "", "refused": "no"})
    keep(file, {"name": "a", "version": "1", "cases": {}})
    assert json.loads(file.read_text()) == {"backends": [{"name": "a", "version": "1", "cases": {}}]}


@pytest.mark.parametrize("name", ["nothing", "tests.conformance.backends:PAGE", "tests.conformance.backends:Nobody"])
def test_what_is_no_subject_is_named(name):
    with pytest.raises(InvalidArgumentError, match=name.rpartition(":")[2]):
        subject_of(name)


def test_pytest_runs_the_cases_for_a_backend_named_on_its_command_line(tmp_path):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "lsmkv_tensor.testing.conformance.plugin"]
    command += ["--pyargs", "lsmkv_tensor.testing.conformance", "-k", "restart or delete", "--backend", f"{HERE}:no_deletes"]
    ran = subprocess.run([*command, f"--basetemp={tmp_path / 'own'}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "2 passed, 1 skipped" in ran.stdout, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "wrong",
    [["--backend", "nosuch:X"], ["--backend", f"{HERE}:Nobody"], ["--backend", f"{HERE}:no_deletes", "--case-seconds", "0"]],
)
def test_what_pytest_cannot_run_is_told_once_and_before_anything_runs(wrong):
    """It was told by each of fourteen tests."""
    with pytest.raises(pytest.UsageError, match=rf"^{wrong[-2]} {wrong[-1]}: "):
        pytest_configure(Config(dict(zip(wrong[::2], wrong[1::2], strict=True))))


def test_pytest_without_a_backend_goes_on():
    pytest_configure(Config({}))


def test_the_page_shows_the_committed_results():
    page = ROOT / "docs" / "conformance.md"
    made = runpy.run_path(str(ROOT / "docs" / "conformance_page.py"))["rendered"]
    assert made(ROOT / "docs" / "conformance.json", page.read_text()) == page.read_text(), "make docs"


def test_the_page_names_every_case():
    text = (ROOT / "docs" / "conformance.md").read_text()
    assert [name for name in CASES if f"| {name} | " not in text] == []


def test_who_reads_twice_beside_a_disk_that_hangs_is_let_go_too(tmp_path):
    """The second look met the pipe again, after its end and before the file was back, and hung for ever."""
    file = tmp_path / "page"
    content = page(1, 8192)
    for _ in range(20):
        file.write_bytes(content.tobytes())
        reader = Thread(target=lambda: [file.read_bytes() for _ in range(3)], daemon=True)
        with stalled_by_pipes(tmp_path, content):
            reader.start()
        reader.join(60)
        assert not reader.is_alive()
    assert file.read_bytes() == content.tobytes()
