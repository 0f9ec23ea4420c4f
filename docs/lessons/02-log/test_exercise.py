"""The log reader of lesson 2: a prefix, whatever became of the tail."""

from __future__ import annotations

from types import ModuleType

from lsmkv.env.rng import seeded

PAYLOADS = [b"put a 1", b"put b 22", b"delete a", b"x" * 300, b"put c 3"]


def ends(work: ModuleType) -> list[int]:
    """Where each frame ends, the beginning included."""
    found = [0]
    for payload in PAYLOADS:
        found.append(found[-1] + len(work.frame(payload)))
    return found


def log(work: ModuleType) -> bytes:
    return b"".join(map(work.frame, PAYLOADS))


def test_a_whole_log_is_read_whole(work: ModuleType) -> None:
    assert work.read_log(log(work)) == (PAYLOADS, len(log(work)))
    assert work.read_log(b"") == ([], 0)


def test_a_log_cut_anywhere_gives_the_frames_before_the_cut(work: ModuleType) -> None:
    whole, marks = log(work), ends(work)
    for cut in range(len(whole)):
        count = sum(end <= cut for end in marks) - 1
        assert work.read_log(whole[:cut]) == (PAYLOADS[:count], marks[count]), f"cut at byte {cut}"


def test_zeros_behind_the_end_are_no_frames(work: ModuleType) -> None:
    whole = log(work)
    for zeros in (1, 8, 4_096):
        assert work.read_log(whole + bytes(zeros)) == (PAYLOADS, len(whole)), f"{zeros} zeros"


def test_a_changed_byte_ends_the_log_there(work: ModuleType) -> None:
    whole, marks = log(work), ends(work)
    for at in range(len(whole)):
        hurt = bytearray(whole)
        hurt[at] ^= 0x40
        count = sum(end <= at for end in marks) - 1
        assert work.read_log(bytes(hurt)) == (PAYLOADS[:count], marks[count]), f"byte {at} changed"


def test_noise_behind_the_end_is_cut(work: ModuleType) -> None:
    rng, whole = seeded(4), log(work)
    for size in range(1, 200):
        assert work.read_log(whole + rng.getrandbits(8 * size).to_bytes(size, "big")) == (PAYLOADS, len(whole))
