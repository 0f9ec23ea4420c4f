"""``lsmkv export`` and ``import``: from a store, beside its writer too, into another; what is damaged is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lsmkv.testing import ManualClock
from lsmkv_tensor import PageFormat, PageStore, StoreOptions, TensorStore

Cli = Callable[..., Any]
FMT = PageFormat(page_tokens=4, shape=(2, 4, 256), dtype=torch.bfloat16)
TOKENS = list(range(1000, 1400))
OPTIONS = StoreOptions(capacity_bytes=48 << 20)


def pages_of(n: int) -> torch.Tensor:
    return torch.arange(n).repeat_interleave(FMT.page_bytes // 2).to(FMT.dtype).view(n, *FMT.shape)


def tensors(path: Path) -> TensorStore:
    return TensorStore.open(path, FMT, namespace="model", options=OPTIONS)


def key(i: int) -> bytes:
    return i.to_bytes(28, "big")


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A hundred pages of a prompt, and ten of an engine's."""
    path = tmp_path / "here"
    with tensors(path) as store:
        assert store.put_batch(TOKENS, pages_of(100)) == 100
    with PageStore.open(path, options=OPTIONS) as store:
        engine = store.namespace({"engine": 1}, 5000, name="engine")
        assert all(engine.put_many([key(i) for i in range(10)], [bytes([i]) * 5000 for i in range(10)]))
    return path


@pytest.fixture(params=["alone", "beside its writer"])
def looked_at(request: pytest.FixtureRequest, filled: Path) -> Iterator[Path]:
    """The store, open in another place or not."""
    if request.param == "alone":
        yield filled
        return
    with PageStore.open(filled, options=OPTIONS) as store:
        store.namespace({"engine": 1}, 5000).delete_many([key(9)])
        store.namespace({"engine": 1}, 5000).put_many([key(9)], [bytes([9]) * 5000])
        yield filled


@pytest.mark.parametrize("how", ["command line", "file", "json file", "everything"])
def test_a_prefix_goes_from_store_to_store(cli: Cli, looked_at: Path, tmp_path: Path, how: str) -> None:
    prompt = TOKENS[:205]
    text = ",".join(map(str, prompt))
    if "file" in how:
        (tmp_path / "prompt").write_text(json.dumps(prompt) if "json" in how else text.replace(",", "\n"))
        text = f"@{tmp_path / 'prompt'}"
    chosen = [] if how == "everything" else ["--prefix", text]
    pack, there = tmp_path / "one.pack", tmp_path / "there"
    told = cli("export", looked_at, pack, "--namespace", "model", *chosen, "--json").json
    pages = 100 if how == "everything" else 51
    assert (told["pages"], told["missing"], told["namespace"]) == (pages, 0, ["model"])
    assert told["bytes"] == pack.stat().st_size
    got = cli("import", there, pack, "--create", "--capacity", "48MiB", "--json")
    assert got.code == 0
    assert (got.json["ok"], got.json["pages"], got.json["damaged"]) == (True, pages, 0)
    with tensors(there) as store:
        assert store.probe(TOKENS) == 4 * pages
        assert torch.equal(torch.stack(store.get_batch(TOKENS)), pages_of(100)[:pages])
        assert store.drop(TOKENS[:4]) == pages
    assert cli("verify", there).code == 0


def test_keys_of_an_engine_go_by_name(cli: Cli, looked_at: Path, tmp_path: Path) -> None:
    pack, there = tmp_path / "one.pack", tmp_path / "there"
    chosen = ["--prefix", key(3).hex(), "--prefix", key(9).hex(), "--prefix", "no such key"]
    shown = cli("export", looked_at, pack, "--namespace", "engine", *chosen)
    assert shown.code == 0
    assert "2 pages" in shown.out
    assert "1 were not there" in shown.out
    assert "2 pages stored" in cli("import", there, pack, "--create", "--capacity", "48MiB").out
    assert "2 there already" in cli("import", there, pack, "--capacity", "48MiB").out
    with PageStore.open(there, options=OPTIONS) as store:
        out = bytearray(5000)
        assert store.namespace({"engine": 1}, 5000).get_into([key(9)], [out]) == [True]
        assert out == bytes([9]) * 5000


def test_an_import_evicts_nothing_of_a_store_that_is_larger_than_asked(cli: Cli, filled: Path, tmp_path: Path) -> None:
    pack = tmp_path / "one.pack"
    cli("export", filled, pack, "--namespace", "engine")
    assert cli("import", filled, pack, "--capacity", "1MiB", "--json").json["present"] == 10
    with tensors(filled) as store:
        assert store.probe(TOKENS) == 400
        assert store.stats().pages == 110


def test_damage_is_told_page_by_page(cli: Cli, filled: Path, tmp_path: Path) -> None:
    pack, there = tmp_path / "one.pack", tmp_path / "there"
    cli("export", filled, pack, "--namespace", "engine")
    data = bytearray(pack.read_bytes())
    data[-6000] ^= 1
    pack.write_bytes(data[:-10])
    told = cli("import", there, pack, "--create", "--json")
    assert told.code == 2
    assert (told.json["pages"], told.json["damaged"], told.json["complete"]) == (9, 1, False)
    shown = cli("import", there, pack)
    assert shown.code == 2
    assert "9 there already" in shown.out
    assert "cut short" in shown.out
    assert "fails its checksum" in shown.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--namespace says which (model, engine)"),
        (["--namespace", "other"], "there are: model, engine"),
        (["--namespace", "model", "--prefix", "1,two"], "token ids are wanted"),
        (["--namespace", "model", "--prefix", "[1, true]"], "bool"),
        (["--namespace", "model", "--prefix", "@/nowhere"], "nowhere"),
    ],
)
def test_what_is_not_clear_is_refused(cli: Cli, filled: Path, tmp_path: Path, arguments: list[str], told: str) -> None:
    pack = tmp_path / "one.pack"
    outcome = cli("export", filled, pack, *arguments)
    assert outcome.code == 2
    assert told in outcome.err
    assert not list(tmp_path.glob("one.pack*"))


def test_an_existing_pack_and_a_missing_store_are_refused(cli: Cli, filled: Path, tmp_path: Path) -> None:
    pack = tmp_path / "one.pack"
    pack.write_text("mine")
    assert "exists" in cli("export", filled, pack, "--namespace", "model").err
    assert pack.read_text() == "mine"
    assert cli("export", filled, pack, "--namespace", "model", "--force").code == 0
    assert cli("import", tmp_path / "there", pack).code == 2
    assert not (tmp_path / "there").exists()
    assert cli("import", filled, tmp_path / "nothing").code == 2
    assert "512MiB" in cli("import", filled, pack, "--capacity", "much").err


def test_pages_that_have_ended_do_not_come_back_to_life_elsewhere(cli: Cli, tmp_path: Path) -> None:
    path, pack = tmp_path / "here", tmp_path / "one.pack"
    past = StoreOptions(capacity_bytes=48 << 20, clock=ManualClock(wall=1_750_000_000.0))
    with PageStore.open(path, options=past) as store:
        ns = store.namespace({"engine": 1}, 5000, name="engine")
        ns.put_many([key(i) for i in range(4)], [bytes([i]) * 5000 for i in range(4)], ttl_s=60)
        ns.put_many([key(i) for i in range(4, 7)], [bytes([i]) * 5000 for i in range(4, 7)])
        assert ns.contains([key(i) for i in range(7)]).all()
    told = cli("export", path, pack, "--json").json
    assert (told["pages"], told["missing"]) == (3, 4)
