"""The command on a page store: its pages, its segments, and the tree below them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lsmkv_tensor import PageStore, StoreOptions

Cli = Callable[..., Any]
PAGE = 5000
MIB = 1 << 20


def key(i: int) -> bytes:
    return i.to_bytes(4, "big") * 7


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    path = tmp_path / "pages"
    with PageStore.open(str(path), options=StoreOptions(capacity_bytes=16 * MIB, segment_bytes=256 << 10)) as store:
        namespace = store.namespace({"model": "m", "dtype": "bf16"}, PAGE, name="first")
        for start in range(0, 60, 20):
            keys = [key(i) for i in range(start, start + 20)]
            assert all(namespace.put_many(keys, [bytes([i]) * PAGE for i in range(start, start + 20)]))
        namespace.delete_many([key(i) for i in range(5)])
        store.sync()
    return path


def test_stats_show_pages_and_the_index_below(cli: Cli, pages: Path) -> None:
    told = cli("stats", pages, "--json").json
    assert told["kind"] == "page store"
    assert told["pages"] == 55
    assert told["segment_bytes"] == 256 << 10
    assert told["segments"] == len(list((pages / "vlog").glob("*.seg")))
    (namespace,) = told["namespaces"].values()
    assert namespace == {"names": ["first"], "pages": 55, "page_bytes": PAGE, "fields": {"model": "m", "dtype": "bf16"}}
    assert told["index"]["policy"]["name"] == "leveled"
    shown = cli("stats", pages)
    assert shown.code == 0
    assert "first" in shown.out


def test_tree_shows_the_index(cli: Cli, pages: Path) -> None:
    assert "leveled" in cli("tree", pages).out
    assert cli("tree", pages, "--json").json["entries"] == cli("tree", pages / "index", "--json").json["entries"] > 0


def test_verify_reads_every_page(cli: Cli, pages: Path) -> None:
    told = cli("verify", pages, "--json")
    assert told.json["problems"] == []
    assert told.json["bytes"] > 60 * PAGE
    assert told.code == 0


def test_verify_finds_a_flipped_byte_in_a_page(cli: Cli, pages: Path) -> None:
    segment = min((pages / "vlog").glob("*.seg"))
    page = next(r for r in cli("dump", segment, "--json").json if r["record"] == "page")
    data = bytearray(segment.read_bytes())
    data[page["offset"] + 17] ^= 1
    segment.write_bytes(data)
    told = cli("verify", pages, "--json")
    assert told.code == 2
    assert [(Path(p["file"]).name, p["offset"]) for p in told.json["problems"]] == [(segment.name, page["offset"])]


def test_verify_misses_a_removed_segment(cli: Cli, pages: Path) -> None:
    segment = min((pages / "vlog").glob("*.seg"))
    segment.unlink()
    told = cli("verify", pages, "--json")
    assert told.code == 2
    assert any("missing" in p["what"] for p in told.json["problems"])


def test_verify_looks_into_the_index(cli: Cli, pages: Path) -> None:
    next((pages / "index").glob("*.sst")).unlink()
    assert cli("verify", pages).code == 2


def test_dump_shows_frames_and_pages_of_a_segment(cli: Cli, pages: Path) -> None:
    records = [r for s in (pages / "vlog").glob("*.seg") for r in cli("dump", s, "--json").json]
    assert {r["record"] for r in records} >= {"segment", "frame", "page"}
    assert [r for r in records if r["record"] == "page" and bytes.fromhex(r["key"])[4:] == key(7)]
    assert sum(r["record"] == "page" for r in records) == 60
    assert cli("dump", pages / "STORE", "--json").json[0]["segment_bytes"] == 256 << 10


def test_dump_goes_on_after_a_damaged_frame_and_says_so(cli: Cli, pages: Path) -> None:
    segment = min((pages / "vlog").glob("*.seg"))
    frame = next(r for r in cli("dump", segment, "--json").json if r["record"] == "frame")
    data = bytearray(segment.read_bytes())
    data[frame["offset"] + 70] ^= 1
    segment.write_bytes(data)
    told = cli("dump", segment, "--json")
    assert told.code == 2
    kinds = [r.get("record") for r in told.json]
    assert kinds.count("damage") == 1
    assert "error" in told.json[-1]


def test_page_stores_have_no_checkpoint(cli: Cli, pages: Path, tmp_path: Path) -> None:
    outcome = cli("checkpoint", pages, tmp_path / "copy")
    assert outcome.code == 2
    assert "page store" in outcome.err
    assert not (tmp_path / "copy").exists()


def test_looking_works_beside_a_live_store(cli: Cli, pages: Path) -> None:
    with PageStore.open(str(pages), options=StoreOptions(capacity_bytes=16 * MIB)) as store:
        store.namespace({"model": "m", "dtype": "bf16"}, PAGE).put_many([key(100)], [bytes(PAGE)])
        assert cli("stats", pages, "--json").json["pages"] == 56
        assert cli("verify", pages, "--json").json["problems"] == []


def test_top_watches_the_index(cli: Cli, pages: Path) -> None:
    frame = cli("top", pages, "--once", "--json").json
    assert frame["path"] == str(pages / "index")
    assert frame["policy"]["name"] == "leveled"
    assert frame["entries"] > 0
    assert frame["rates"] is None  # the index keeps neither an event log nor a status: their bytes would be its own
