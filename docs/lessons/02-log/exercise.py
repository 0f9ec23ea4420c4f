"""Lesson 2, starter code: a log reader that believes every byte."""

import struct
from zlib import crc32

HEADER = struct.Struct("<II")  # length of the payload, its crc32


def frame(payload: bytes) -> bytes:
    """A payload (never empty) as it lies in the log."""
    return HEADER.pack(len(payload), crc32(payload)) + payload


def read_log(data: bytes) -> tuple[list[bytes], int]:
    """The payloads up to the first frame that does not check out, and how many bytes they and their headers take."""
    # YOUR TURN: whatever follows the last good frame is a torn tail: half a header, half a payload, zeros, old bytes.
    payloads, at = [], 0
    while at < len(data):
        length, _checksum = HEADER.unpack_from(data, at)
        payloads.append(data[at + HEADER.size : at + HEADER.size + length])
        at += HEADER.size + length
    return payloads, at
