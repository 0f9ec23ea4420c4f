"""``lsmkv load``: sorted entries from a file, all of them or none."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
from pathlib import Path

import pytest

import lsmkv
from lsmkv.cli import load
from lsmkv_tensor import PageStore, StoreOptions

ENTRIES = {b"key%04d" % n: b"value %d" % n for n in range(5000)}


def contents(path: Path) -> dict[bytes, bytes]:
    with lsmkv.open(path, lsmkv.Options(create=False)) as db:
        return dict(db.scan())


def written(path: Path, form: str, encoding: str, entries: dict[bytes, bytes] = ENTRIES) -> Path:
    lines = []
    for key, value in entries.items():
        k, v = (key.hex(), value.hex()) if encoding == "hex" else (key.decode(), value.decode())
        lines.append(json.dumps({"key": k, "value": v}) if form == "jsonl" else f"{k}\t{v}")
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("form", ["jsonl", "tsv"])
@pytest.mark.parametrize("encoding", ["utf-8", "hex"])
def test_a_file_is_loaded_into_a_new_store_and_into_one_that_is_there(cli, tmp_path, form, encoding):
    store, file = tmp_path / "db", written(tmp_path / f"data.{form}", form, encoding)
    done = cli("load", store, file, "--create", "--encoding", encoding, "--json")
    assert done.code == 0, done.err
    assert (done.json["entries"], done.json["level"]) == (5000, 1)
    assert contents(store) == ENTRIES
    more = {b"more%d" % n: bytes([65 + n]) for n in range(9)}
    done = cli("load", store, written(tmp_path / "more", form, encoding, more), "--format", form, "--encoding", encoding)
    assert done.code == 0, done.err
    assert done.out.startswith("9 entries")
    assert contents(store) == ENTRIES | more


def test_hex_takes_any_bytes(cli, tmp_path):
    odd = {b"": b"\0", b"\t\n": b"", b"\xff\xfe": bytes(range(256))}
    assert cli("load", tmp_path / "db", written(tmp_path / "x.tsv", "tsv", "hex", odd), "--encoding", "hex", "--create").code == 0
    assert contents(tmp_path / "db") == odd


BAD = [
    ("jsonl", '{"key": "a", "value": "1"}\n\n{"key": "a", "value": "2"}', "line 3: key b'a' does not sort after the key before"),
    ("jsonl", '{"key": "b", "value": "1"}\n{"key": "a", "value": "2"}', "line 2: key b'a' does not sort after the key before it"),
    ("jsonl", '{"key": "a", "value": "1"}\n{"key": "b"}', 'line 2 is no entry (no value): b\'{"key": "b"}\''),
    ("jsonl", '{"key": "a", "value": 7}', 'line 1 is no entry (its value is no string): b\'{"key": "a", "value": 7}\''),
    ("jsonl", "[1]", "line 1 is no entry (not a JSON object): b'[1]'"),
    ("jsonl", "nonsense", "line 1 is no entry (Expecting value: line 1 column 1 (char 0)): b'nonsense'"),
    ("jsonl", "[" * 100_000, "line 1 is no entry (maximum recursion depth exceeded"),
    ("tsv", "a\t1\nb", "line 2 is no entry (no tab): b'b'"),
    ("tsv", "a\t1\n \nb\t2", "line 2 is no entry (no tab): b' '"),
    ("tsv", "a\t1\nb\t2\t3", "line 2 is no entry (more than one tab): b'b\\t2\\t3'"),
]


@pytest.mark.parametrize(("form", "text", "message"), BAD)
def test_what_is_no_sorted_data_is_refused_by_line_and_leaves_nothing(cli, tmp_path, form, text, message):
    (tmp_path / "data").write_text(text)
    with lsmkv.open(tmp_path / "db") as db:
        db.put(b"k", b"v")
    done = cli("load", tmp_path / "db", tmp_path / "data", "--format", form, "--json")
    assert done.code == 2
    assert done.json["error"]["message"].startswith(message), "the line, and no word about pairs"
    assert contents(tmp_path / "db") == {b"k": b"v"}


def test_a_store_is_made_only_when_asked_for(cli, tmp_path):
    file = written(tmp_path / "data.tsv", "tsv", "utf-8")
    done = cli("load", tmp_path / "db", file)
    assert done.code == 2
    assert "--create" in done.err
    assert not (tmp_path / "db").exists()


def test_a_missing_file_makes_no_store_of_entries(cli, tmp_path):
    done = cli("load", tmp_path / "db", tmp_path / "nothing", "--create")
    assert done.code == 2
    assert "nothing" in done.err
    assert not (tmp_path / "db").exists()


def test_a_directory_is_refused_by_name(cli, tmp_path):
    done = cli("load", tmp_path / "db", tmp_path, "--create")
    assert done.code == 2
    assert str(tmp_path) in done.err
    assert not (tmp_path / "db").exists()


def test_a_directory_without_a_store_takes_one_when_asked_for(cli, tmp_path):
    (tmp_path / "db").mkdir()
    file = written(tmp_path / "data.tsv", "tsv", "utf-8")
    assert "--create" in cli("load", tmp_path / "db", file).err
    assert cli("load", tmp_path / "db", file, "--create").code == 0
    assert contents(tmp_path / "db") == ENTRIES


@pytest.mark.parametrize("create", [[], ["--create"]])
def test_a_page_store_takes_no_load(cli, tmp_path, create):
    PageStore.open(tmp_path / "pages", options=StoreOptions(capacity_bytes=16 << 20)).close()
    before = sorted(path.name for path in (tmp_path / "pages").iterdir())
    done = cli("load", tmp_path / "pages", written(tmp_path / "data.tsv", "tsv", "utf-8"), *create)
    assert done.code == 2
    assert "page store" in done.err
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == before


def test_a_pipe_that_has_a_name_is_read(cli, tmp_path):
    read, write = os.pipe()
    os.write(write, b"a\t1\nb\t2\n")
    os.close(write)
    try:
        done = cli("load", tmp_path / "db", f"/dev/fd/{read}", "--format", "tsv", "--create")
    finally:
        os.close(read)
    assert done.code == 0, done.err
    assert contents(tmp_path / "db") == {b"a": b"1", b"b": b"2"}


def test_a_line_of_nothing_but_a_tab_is_an_entry(cli, tmp_path):
    (tmp_path / "x.tsv").write_bytes(b"\t\r\n\r\n\na\t \r\n")
    assert cli("load", tmp_path / "db", tmp_path / "x.tsv", "--create").code == 0
    assert contents(tmp_path / "db") == {b"": b"", b"a": b" "}


def test_a_store_with_a_policy_of_ones_own_is_loaded(cli, tmp_path, monkeypatch):
    (tmp_path / "policy_lying_here.py").write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Mine:\n"
        "    def pick(self, shape):\n        return None\n"
    )
    with monkeypatch.context() as here:
        here.syspath_prepend(tmp_path)
        with lsmkv.open(tmp_path / "db", lsmkv.Options(policy=importlib.import_module("policy_lying_here").Mine())):
            pass
    del sys.modules["policy_lying_here"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    done = cli("load", tmp_path / "db", written(tmp_path / "data.tsv", "tsv", "utf-8"))
    assert done.code == 0, done.err


def test_an_empty_file_is_nothing_to_load(cli, tmp_path):
    (tmp_path / "data").write_text("\n\n")
    done = cli("load", tmp_path / "db", tmp_path / "data", "--create")
    assert (done.code, done.out) == (0, "nothing to load\n")


def test_lines_are_whole_wherever_a_read_ends(monkeypatch):
    data = b"".join(b"%d\t%s\n" % (n, b"x" * (n % 11)) for n in range(300)).rstrip(b"\n")
    for size in (1, 2, 3, 7, 64, 10_000):
        monkeypatch.setattr(load, "CHUNK_BYTES", size)
        lines = list(load._lines(load._chunks(io.BytesIO(data), lambda _: None)))
        assert lines == list(enumerate(data.split(b"\n"), 1))
