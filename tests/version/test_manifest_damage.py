"""A damaged manifest: acknowledged edits are there or missed aloud; only what was never acknowledged may go."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsmkv.base.frames import FILE_HEADER_BYTES, frame_header, pack_file_header
from lsmkv.env.rng import seeded
from lsmkv.errors import CorruptionError, FormatTooNewError
from lsmkv.version.edit import VersionEdit, encode
from lsmkv.version.journal import MAGIC, MARK, SNAPSHOT, VERSION, read_manifest
from lsmkv.version.manifest import Manifest
from lsmkv.version.version import apply_edit
from tests.power import cut_before


@pytest.fixture
def made(trees):
    """(bytes of a manifest of three edits, its last state, bytes of header and frames)."""
    fs = trees.disk()
    manifest, states = trees.manifest(fs, 3)
    return trees.bytes_of(fs), states[-1], manifest.length


def test_truncated_anywhere_it_is_whole_or_corrupt(trees, made):
    data, state, length = made
    for size in [*range(length + 100), len(data) - 1]:
        fs = trees.disk_with(data[:size])
        if size < length + 48:
            with pytest.raises(CorruptionError):
                read_manifest(fs, "/db")
        else:
            assert read_manifest(fs, "/db").state == state


def test_any_flipped_byte_is_reported_and_costs_no_acknowledged_edit(trees, made):
    data, state, length = made
    for at in [*range(length + 60), len(data) - 1]:
        changed = bytearray(data)
        changed[at] ^= 0x41
        fs = trees.disk_with(bytes(changed))
        if at < length - 48:  # under the last mark
            with pytest.raises(CorruptionError):
                read_manifest(fs, "/db")
        else:
            contents = read_manifest(fs, "/db")
            assert contents.state == state
            assert "dropped" in contents.dropped


def test_loading_drops_what_was_never_acknowledged_and_goes_on(trees, made):
    data, state, length = made
    torn = bytearray(data)
    torn[length : length + 5] = b"\xf5Lf\nx"
    fs = trees.disk_with(bytes(torn))
    manifest, loaded = Manifest.load(fs, "/db")
    assert loaded == state
    assert f"byte {length}" in manifest.dropped
    edit = trees.flush(4)
    manifest.append(edit, apply_edit(state, edit))
    again = read_manifest(fs, "/db")
    assert (again.state, again.dropped) == (apply_edit(state, edit), None)


@pytest.mark.parametrize("data", [b"", b"MANIFEST-000001\n", bytes(4096), pack_file_header(b"lsmkvWAL", 1, 1, None) + bytes(99)])
def test_another_file_is_not_a_manifest(trees, data):
    with pytest.raises(CorruptionError):
        read_manifest(trees.disk_with(data), "/db")


def test_a_header_without_a_snapshot_is_corrupt(trees):
    data = pack_file_header(MAGIC, VERSION, 1, None) + bytes(4096)
    with pytest.raises(CorruptionError, match="snapshot") as caught:
        read_manifest(trees.disk_with(data), "/db")
    assert caught.value.offset == FILE_HEADER_BYTES


def test_a_newer_format_is_told_apart_from_damage(trees, made):
    data = pack_file_header(MAGIC, VERSION + 1, 1, None) + made[0][FILE_HEADER_BYTES:]
    with pytest.raises(FormatTooNewError, match="upgrade"):
        read_manifest(trees.disk_with(data), "/db")


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_manifest_is_rewritten_before_anything_is_appended(trees, version):
    """Its readers would take a newer edit for damage instead of asking for an upgrade."""
    state = replace(trees.history(1)[1][0], wal_floor=4)
    new = encode(state.as_edit())
    policy_bytes = int.from_bytes(new[12:16], "little")
    payload = (0x3F).to_bytes(4, "little") + new[4:64] + new[80 : 80 + policy_bytes]
    if version == 2:
        payload = (0x1FF).to_bytes(4, "little") + new[4:72] + new[80:]
    head = pack_file_header(MAGIC, version, 1, None)
    head += frame_header(1, len(head), SNAPSHOT, (0, 0), 0, 0, 0, [payload], len(payload)) + payload
    fs = trees.disk_with(head + frame_header(1, len(head), MARK, (0, 0), 0, 1, len(head), [b""], 0) + bytes(4096))
    assert read_manifest(fs, "/db").state == state
    manifest, loaded = Manifest.load(fs, "/db")
    assert (loaded, manifest.dropped, manifest.generation) == (state, None, 2)
    edit = trees.flush(4)
    manifest.append(edit, apply_edit(state, edit))
    again = read_manifest(fs, "/db")
    assert (again.version, again.state) == (VERSION, apply_edit(state, edit))


def test_edits_that_contradict_the_tree_are_corrupt(trees):
    fs = trees.disk()
    manifest, states = trees.manifest(fs, 1)
    manifest.append(VersionEdit(removed=(77,)), states[-1])
    with pytest.raises(CorruptionError, match="77"):
        read_manifest(fs, "/db")


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(0, 2**32), st.integers(1, 400))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # it has no state
def test_a_power_cut_at_any_call_leaves_the_last_acknowledged_state_or_the_next(trees, sizes, seed, stop_at):
    fs = trees.disk()
    states = [trees.history(0)[1][0]]
    manifest = Manifest.create(fs, "/db", states[0])
    acknowledged, number = 0, 0
    with cut_before(fs, stop_at):
        for size in sizes:
            added = tuple((1 + number + i, number + i, trees.table(number + i)) for i in range(size))
            number += size
            edit = VersionEdit(added=added, last_seq=number)
            states.append(apply_edit(states[-1], edit))
            manifest.append(edit, states[-1])
            acknowledged = len(states) - 1
    for rng in (None, seeded(seed), seeded(seed + 1), seeded(seed + 2)):
        left = fs.crash(rng)
        again, state = Manifest.load(left, "/db")
        assert state in states[acknowledged:]
        edit = VersionEdit(last_seq=10**6)
        again.append(edit, apply_edit(state, edit))
        assert read_manifest(left, "/db").state == apply_edit(state, edit)
