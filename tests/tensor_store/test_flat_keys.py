"""Engines' digests become index keys: no two different keys meet, and one key has one form."""

import hashlib

import pytest

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.keys.flat import KEY_BYTES, flat_key

DIGEST = hashlib.sha256(b"page").digest()


@pytest.mark.parametrize("digest", [DIGEST[:28], DIGEST, hashlib.sha384(b"page").digest(), hashlib.sha512(b"page").digest()])
def test_a_digest_is_cut_and_its_text_gives_the_same_key(digest):
    assert flat_key(digest) == flat_key(digest.hex()) == flat_key(digest.hex().upper()) == digest[:KEY_BYTES]


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 16, b"x" * 33, b"model-a/rank-0/layer-12/page-0001"])
def test_anything_else_is_hashed(key):
    assert flat_key(key) == hashlib.sha256(key).digest()[:KEY_BYTES]
    assert flat_key(key.decode()) == flat_key(key)


def test_long_readable_keys_with_one_beginning_stay_apart():
    assert flat_key(b"model-a/rank-0/layer-12/page-0001") != flat_key(b"model-a/rank-0/layer-12/page-0002")


@pytest.mark.parametrize("text", ["0" * 55 + "g", "0" * 55, "0" * 57, "é" * 56, "\ud800", "0x" + "0" * 54])
def test_text_that_is_not_hexadecimal_is_hashed(text):
    assert flat_key(text) == hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:KEY_BYTES]


@pytest.mark.parametrize("key", [None, 5, memoryview(bytes(28))])
def test_only_bytes_and_text_are_keys(key):
    with pytest.raises(InvalidArgumentError, match=type(key).__name__):
        flat_key(key)
