"""Files that are not the store's are left alone and hurt nothing; only names that the engine gives are its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lsmkv
from lsmkv.base.filenames import parse_name

STRAYS = (
    "1.wal",
    "9.wal",
    "²³.sst",
    "²³.wal",
    "٣٣٣٣٣٣.wal",
    "0000007.wal",
    "7.sst",
    "notes.tmp",
    "notes.txt",
    "000003.sst.old",
    "x000003.wal",
)
FOLDERS = ("backup.tmp", "000004.sst", "000900.sst", "000901.wal")


@given(st.integers(0, 10**18 - 1), st.sampled_from(["sst", "wal"]))
def test_a_name_says_what_it_was_made_of(number, kind):
    assert parse_name(f"{number:06d}.{kind}") == (number, kind)


@given(st.text() | st.from_regex(r"\A[0-9²٣_+ -]{1,20}\.(sst|wal|tmp)\Z"))
def test_only_names_we_would_give_are_ours(name):
    found = parse_name(name)
    assert found is None or name == f"{found.number:06d}.{found.kind}"


@pytest.mark.parametrize(
    "name", [*STRAYS, "MANIFEST", "LOCK", "MANIFEST.tmp", "000003.SST", "000003.sst\n", "1" * 19 + ".wal", ""]
)
def test_other_names_are_not_ours(name):
    assert parse_name(name) is None


def litter(fs):
    for name in STRAYS:
        fs.open(f"/db/{name}", "create").pwritev([b"mine"], 0)
    for name in FOLDERS:
        fs.mkdir(f"/db/{name}")


def test_strays_are_left_alone_and_do_not_hurt(open_db, memory_fs):
    fs = memory_fs
    fs.mkdir("/db")
    litter(fs)
    for generation in range(3):
        with open_db() as db:
            assert db.stats().recovery == ()
            for i in range(300):
                db.put(b"%03d" % i, b"%d" % generation)
            db.settle()
            db.compact()
            db.check()
            assert db.get(b"299") == b"%d" % generation
        assert {*STRAYS, *FOLDERS} <= set(fs.listdir("/db"))
    report = lsmkv.verify("/db", fs)
    assert report.ok
    assert {w.split(" is ")[0].removeprefix("/db/") for w in report.warnings} == set(STRAYS)
    assert all(w.endswith("is no file of this store") for w in report.warnings)


def test_strays_do_not_hurt_a_replay(open_db, memory_fs):
    db = open_db(wal_sync="write")
    db.put(b"a", b"1")
    litter(memory_fs)
    memory_fs.sync_dir("/db")
    crashed = memory_fs.crash()
    with open_db(fs=crashed) as again:
        assert again.get(b"a") == b"1"
        assert {*STRAYS, *FOLDERS} <= set(crashed.listdir("/db"))


def test_a_lost_manifest_is_told_from_a_folder_with_strays(open_db, memory_fs):
    db = open_db()
    db.put(b"a", b"1")
    db.close()
    memory_fs.unlink("/db/MANIFEST")
    with pytest.raises(lsmkv.CorruptionError, match=r"missing, but the directory holds [12] tables or logs"):
        open_db()
