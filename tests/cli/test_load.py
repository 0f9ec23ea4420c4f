"""``lsmkv load``: sorted entries from a file, all of them or none."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import lsmkv
from lsmkv.cli import load

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
    ("jsonl", '{"key": "a", "value": "1"}\n\n{"key": "a", "value": "2"}', "line 3: key b'a' does not sort after"),
    ("jsonl", '{"key": "b", "value": "1"}\n{"key": "a", "value": "2"}', "line 2: key b'a' does not sort after"),
    ("jsonl", '{"key": "a", "value": "1"}\n{"key": "b"}', "line 2 is no entry"),
    ("jsonl", '{"key": "a", "value": 7}', "line 1 is no entry"),
    ("jsonl", "[1]", "line 1 is no entry"),
    ("jsonl", "nonsense", "line 1 is no entry"),
    ("tsv", "a\t1\nb", "line 2 is no entry (no tab)"),
]


@pytest.mark.parametrize(("form", "text", "message"), BAD)
def test_what_is_no_sorted_data_is_refused_by_line_and_leaves_nothing(cli, tmp_path, form, text, message):
    (tmp_path / "data").write_text(text)
    with lsmkv.open(tmp_path / "db") as db:
        db.put(b"k", b"v")
    done = cli("load", tmp_path / "db", tmp_path / "data", "--format", form, "--json")
    assert done.code == 2
    assert message in done.json["error"]["message"]
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


def test_an_empty_file_is_nothing_to_load(cli, tmp_path):
    (tmp_path / "data").write_text("\n\n")
    done = cli("load", tmp_path / "db", tmp_path / "data", "--create")
    assert (done.code, done.out) == (0, "nothing to load\n")


def test_lines_are_whole_wherever_a_read_ends(monkeypatch):
    data = b"".join(b"%d\t%s\n" % (n, b"x" * (n % 11)) for n in range(300)).rstrip(b"\n")
    for size in (1, 2, 3, 7, 64, 10_000):
        monkeypatch.setattr(load, "CHUNK_BYTES", size)
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        lines = list(load._lines(load._chunks(None, "-", lambda _: None)))
        assert lines == list(enumerate(data.split(b"\n"), 1))
