"""docs/format/pack.md tells the truth: its example is imported, and an export still writes these bytes."""

from __future__ import annotations

import re
from pathlib import Path

from lsmkv_tensor import LivePages, export_pack, import_pack
from tests.packs.conftest import PACK

PAGE = (Path(__file__).parents[2] / "docs/format/pack.md").read_text()
KEY = bytes(range(28))
PARENT = bytes(range(100, 128))


def example() -> bytes:
    (dump,) = re.findall(r"```hex\n(.*?)```", PAGE, re.DOTALL)
    return b"".join(bytes.fromhex(line[8:]) for line in dump.splitlines())


def test_the_example_is_imported_as_the_text_says(machine):
    machine.fs.open(PACK, "create").pwritev([example()], 0)
    with machine.pages() as pages:
        report = import_pack(pages, PACK, fs=machine.fs)
        assert report.ok
        (info,) = pages.namespaces()
        assert (info.fields, info.page_bytes, info.names) == ({"m": 1}, 11, ("a",))
        ns = pages.namespace({"m": 1}, 11)
        out = bytearray(11)
        assert ns.get_into([KEY], [out]) == [True]
        assert out == b"hello pages"
        assert ns.parents([KEY]) == [PARENT]
        assert dict(ns.records()) == {b"k": b"v"}
    assert example().index(b"LKPP") == 0xCD
    assert example().index(b"LKPE") == 0x138


def test_an_export_writes_the_example(machine):
    with machine.pages() as pages:
        ns = pages.namespace({"m": 1}, 11, name="a")
        ns.put_many([KEY], [b"hello pages"], [PARENT], records={b"k": b"v"})
        export_pack(LivePages(ns), PACK, fs=machine.fs)
    assert machine.fs.open(PACK).pread(1 << 20, 0) == example()
