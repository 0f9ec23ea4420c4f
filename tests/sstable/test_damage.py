"""Any changed or missing byte is reported; it never becomes a crash or a wrong value."""

from __future__ import annotations

import contextlib

import pytest
from xxhash import xxh3_64_intdigest

from lsmkv.base.hashing import KeyBatch
from lsmkv.errors import CorruptionError, FormatTooNewError, IOFailedError
from lsmkv.sstable.layout import FOOTER_BYTES, FORMAT_VERSION, MAGIC, Footer, pack_footer, parse_footer, seal_frame
from lsmkv.testing.memfs import MemoryFileSystem

FIXED = [(b"%03d" % i, i + 1, None if i % 5 == 0 else b"value%d" % i) for i in range(24)]
PLAIN = [(b"%03d" % i, i + 1, b"value%02d" % i) for i in range(24)]
MIXED = sorted([(b"k" * (i % 7) + b"%d" % i, i + 1, b"v" * i if i % 3 else None) for i in range(24)])
VERSIONS = [(b"a", 9, b"x"), *((b"b", s, b"%d" % s) for s in range(20, 0, -1)), (b"c", 1, None)]


def file_of(data: bytes, path: str) -> MemoryFileSystem:
    fs = MemoryFileSystem()
    file = fs.open(path, "create")
    file.pwritev([data], 0)
    file.close()
    return fs


def read_everything(tables, fs, entries):
    """Every way to read; each either right or CorruptionError. True if all of it went well, verify included."""
    clean = True
    try:
        table = tables.reader(fs)
    except CorruptionError:
        return False
    want = {}
    for key, seq, value in entries:
        want.setdefault(key, (seq, value))
    for key in [*want, b"absent", b""]:
        try:
            assert table.get(key) == want.get(key)
            for _ in range(3):  # the first look, what it taught, and looking without the filter
                assert table.value(key) == want.get(key, (0, False))[1]
        except CorruptionError:
            clean = False
    batch = KeyBatch(sorted([*want, b"zz"]))
    pairs = [(k, v) for k, (_, v) in want.items()]
    attempts = (
        (lambda: table.values(batch, range(len(batch))), [want.get(key, (0, False))[1] for key in batch.keys]),
        (lambda: [p for c in table.scan_chunks(None, None, reverse=False) for p in c], pairs),
        (lambda: [p for c in table.scan_chunks(None, None, reverse=True) for p in c], pairs[::-1]),
        (lambda: [e for c in table.columns_chunks(None, None, 200) for e in tables.entries_of(c)], entries),
    )
    for attempt, expected in attempts:
        try:
            assert attempt() == expected
        except CorruptionError:
            clean = False
    return clean and not table.verify()


@pytest.mark.parametrize("entries", [FIXED, PLAIN, MIXED, VERSIONS], ids=["fixed", "plain", "mixed", "versions"])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_flip_of_any_byte_is_found(tables, entries, compression):
    fs, _ = tables.build(entries, block_bytes=128, compression=compression)
    good = fs.open(tables.PATH).pread(1 << 20, 0)
    assert read_everything(tables, fs, entries)
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1 << (at % 8)
        assert not read_everything(tables, file_of(bytes(bad), tables.PATH), entries), f"flip at {at} went unseen"


def test_a_cut_at_any_length_is_found_at_open(tables):
    fs, _ = tables.build(FIXED)
    good = fs.open(tables.PATH).pread(1 << 20, 0)
    for length in range(len(good)):
        with pytest.raises(CorruptionError) as caught:
            tables.reader(file_of(good[:length], tables.PATH))
        assert caught.value.file == tables.PATH
        assert 0 <= caught.value.offset <= length
    with pytest.raises(CorruptionError, match="not the end of a table"):
        tables.reader(file_of(good + b"more", tables.PATH))


def test_a_block_that_was_fine_and_has_changed_since_is_refused(tables):
    fs, _ = tables.build(PLAIN, block_bytes=1 << 20)
    table = tables.reader(fs)
    for key, _, value in PLAIN:
        assert table.value(key) == value
    extent = table.file.block_extent(0)
    file = fs.open(tables.PATH, "rw")
    for at in range(extent):
        good = file.pread(1, at)
        file.pwritev([bytes([good[0] ^ 1])], at)
        with pytest.raises(CorruptionError):
            table.value(PLAIN[0][0])
        file.pwritev([good], at)
        assert table.value(PLAIN[0][0]) == PLAIN[0][2]


def test_a_file_cut_after_it_was_opened_is_corruption_not_a_crash(tables):
    fs, _ = tables.build(FIXED, block_bytes=64)
    table = tables.reader(fs)
    fs.open(tables.PATH, "rw").truncate(100)
    with pytest.raises(CorruptionError, match="file ends within"):
        table.get(FIXED[-1][0])


def test_swapped_blocks_and_foreign_tables_are_found(tables):
    entries = [(b"%02d" % i, 1, b"v" * 6) for i in range(16)]
    fs, _ = tables.build(entries, block_bytes=32)
    good = fs.open(tables.PATH).pread(1 << 20, 0)
    table = tables.reader(fs)
    first, second, third = table.file.offsets[:3]
    assert second - first == third - second
    swapped = good[second:third] + good[first:second] + good[third:]
    assert len(tables.reader(file_of(swapped, tables.PATH)).verify()) == 2
    with pytest.raises(CorruptionError, match="this is table 7, not 8"):
        tables.reader(fs, number=8)
    other, _ = tables.build(entries, block_bytes=32, number=8)
    foreign = other.open(tables.PATH).pread(1 << 20, 0)
    with pytest.raises(CorruptionError, match="checksum"):
        tables.reader(file_of(foreign[:-FOOTER_BYTES] + good[-FOOTER_BYTES:], tables.PATH))


def test_a_newer_format_is_named_as_such_only_if_intact():
    footer = pack_footer(Footer(1, 100, 200, 300, 464))
    newer = bytearray(footer)
    newer[40] = FORMAT_VERSION + 1
    with pytest.raises(CorruptionError):
        parse_footer("f", 464, bytes(newer), 1)
    newer[48:56] = xxh3_64_intdigest(bytes(newer[:48])).to_bytes(8, "little")
    with pytest.raises(FormatTooNewError, match="upgrade"):
        parse_footer("f", 464, bytes(newer), 1)
    assert footer.endswith(MAGIC)
    assert parse_footer("f", 464, footer, None).properties_at == 300


def test_lying_but_checksummed_blocks_are_refused(tables):
    """A block whose checksum is right but whose columns overrun it (a bug, or malice) is corruption too."""
    fs, _ = tables.build(FIXED[:4], block_bytes=4096)
    good = fs.open(tables.PATH).pread(1 << 20, 0)
    table = tables.reader(fs)
    end = table.file.offsets[1]
    payload = good[16:end]
    for at in [*range(16), 24, 25, 26, 28]:
        bad = bytearray(payload)
        bad[at] ^= 0x44
        frame = seal_frame(tables.NUMBER, 0, bytes(bad), len(bad))
        damaged = tables.reader(file_of(frame + good[end:], tables.PATH))
        with pytest.raises(CorruptionError):
            damaged.get(FIXED[0][0])
        assert damaged.verify()
    for raw, why in ((len(payload) + 1, "zstd"), ((1 << 32) - 1, "larger than any")):
        frame = seal_frame(tables.NUMBER, 0, payload, raw)
        with pytest.raises(CorruptionError, match=why):
            tables.reader(file_of(frame + good[end:], tables.PATH)).get(FIXED[0][0])


@pytest.mark.parametrize("part", [1, 2, 3])
def test_lying_but_checksummed_metadata_is_refused(tables, part):
    fs, _ = tables.build(FIXED, block_bytes=128)
    good = fs.open(tables.PATH).pread(1 << 20, 0)
    footer = tables.reader(fs).file.footer
    start = footer[part]
    stop = [*footer[1:4], len(good) - FOOTER_BYTES][part]
    body = good[start + 16 : stop]
    header = {1: range(16), 2: range(8), 3: [*range(48), *range(52, 72)]}[part]  # all but the block size aimed at
    for at in header:
        bad = bytearray(body)
        bad[at] ^= 0x81
        frame = seal_frame(tables.NUMBER, start, bytes(bad), len(bad))
        data = good[:start] + frame + good[stop:]
        with contextlib.suppress(CorruptionError):
            assert tables.reader(file_of(data, tables.PATH)).verify(), at
    for short in (b"", body[:3]):
        frame = seal_frame(tables.NUMBER, start, short, len(short))
        with pytest.raises(CorruptionError):
            tables.reader(file_of(good[:start] + frame + good[stop:], tables.PATH))


def test_a_failing_read_names_the_operation(tables):
    fs, _ = tables.build(FIXED, block_bytes=64)
    with pytest.raises(IOFailedError, match="open table"):
        tables.reader(fs, path="/missing.sst")
    table = tables.reader(fs)

    def fail(operation, path):
        if operation == "pread":
            raise OSError(5, "disk on fire")

    fs.on_op = fail
    for read in (lambda: table.get(b"001"), table.verify, lambda: list(table.columns_chunks(None, None, 1))):
        with pytest.raises(IOFailedError, match=r"read table failed on /000007.sst.*fire"):
            read()
    with pytest.raises(IOFailedError, match="read table"):
        tables.reader(fs)
