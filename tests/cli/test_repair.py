"""``lsmkv repair`` says what is wrong and what it costs, and changes nothing unless told to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import lsmkv
from lsmkv_tensor import PageStore

from .conftest import all_tools, options

Cli = Callable[..., Any]


def image(store: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in store.iterdir() if p.is_file() and p.name != "LOCK"}


@pytest.fixture
def hurt(store: Path) -> Path:
    """A store without a manifest, and with a damaged table."""
    (store / "MANIFEST").unlink()
    table = max(store.glob("*.sst"), key=lambda p: p.stat().st_size)
    data = bytearray(table.read_bytes())
    data[50] ^= 1
    table.write_bytes(data)
    return store


def test_a_healthy_store_is_said_to_be_healthy(cli: Cli, store: Path) -> None:
    before = image(store)
    assert "healthy" in cli("repair", store).out
    told = cli("repair", store, "--yes", "--json").json
    assert (told["healthy"], told["manifest"], told["moved"]) == (True, "kept", [])
    assert image(store) == before


def test_a_dry_run_tells_and_changes_nothing(cli: Cli, hurt: Path) -> None:
    before = image(hurt)
    outcome = cli("repair", hurt, "--dry-run")
    assert outcome.code == 2
    assert "would be rebuilt" in outcome.out
    assert "nothing was changed" in outcome.err
    assert cli("repair", hurt, "--dry-run", "--json").json["tables_salvaged"] == 1
    assert image(hurt) == before


def test_yes_repairs_and_names_the_loss(cli: Cli, hurt: Path) -> None:
    outcome = cli("repair", hurt, "--yes", "--json")
    assert outcome.code == 0
    (loss,) = outcome.json["losses"]
    assert loss["entries"] > 0
    assert bytes.fromhex(loss["ranges"][0][1]).startswith(b"key-")
    assert sorted(p.name for p in (hurt / "ASIDE").iterdir()) == sorted([*outcome.json["moved"], "REPORT.json"])
    assert json.loads((hurt / "ASIDE" / "REPORT.json").read_text()) == outcome.json
    assert cli("verify", hurt).code == 0
    with lsmkv.open(str(hurt), options()) as db:
        db.check()
    assert "healthy" in cli("repair", hurt).out


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2), ("", 2)])
def test_it_asks_before_it_changes_anything(hurt: Path, answer: str, code: int) -> None:
    before = image(hurt)
    result = CliRunner().invoke(all_tools().app, ["repair", str(hurt)], input=answer)
    assert result.exit_code == code
    assert "Repair it?" in result.stdout
    assert (image(hurt) == before) == bool(code)


@pytest.mark.parametrize("flags", [["--json"], ["--yes", "--dry-run"]])
def test_flags_that_make_no_sense_are_refused(cli: Cli, hurt: Path, flags: list[str]) -> None:
    before = image(hurt)
    assert cli("repair", hurt, *flags).code == 2
    assert image(hurt) == before


def test_an_open_store_is_refused(cli: Cli, store: Path) -> None:
    with lsmkv.open(str(store), options()):
        outcome = cli("repair", store, "--yes")
    assert outcome.code == 2
    assert "already open" in outcome.err


def test_rebuild_leaves_the_manifest_out_of_account(cli: Cli, store: Path) -> None:
    told = cli("repair", store, "--yes", "--rebuild", "--json").json
    assert (told["manifest"], told["losses"], told["moved"]) == ("rebuilt", [], ["MANIFEST"])
    assert cli("verify", store).code == 0


def test_a_page_store_is_refused(cli: Cli, tmp_path: Path) -> None:
    PageStore.open(str(tmp_path / "pages")).close()
    outcome = cli("repair", tmp_path / "pages", "--yes")
    assert outcome.code == 2
    assert "for the engine alone" in outcome.err
