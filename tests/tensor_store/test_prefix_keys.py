"""Keys of a prefix: what they are made of, that equal prefixes meet and others do not, and that remembering changes nothing."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lsmkv_tensor.keys.anchored import GROUP_PAGES, anchored_keys, child_anchor, page_index
from lsmkv_tensor.keys.chain import KeyChain, chain_digests
from lsmkv_tensor.keys.tokens import token_ids

SEED = hashlib.sha256(b"a namespace").digest()


def keys_of(tokens, page_tokens=2, seed=SEED):
    return list(KeyChain(seed, page_tokens).keys(token_ids(tokens)))


def test_a_digest_is_the_hash_of_the_one_before_and_the_pages_tokens():
    first = hashlib.sha256(SEED + np.array([1, 2], "<u4").tobytes()).digest()
    second = hashlib.sha256(first + np.array([3, 4], "<u4").tobytes()).digest()
    assert chain_digests(SEED, token_ids([1, 2, 3, 4, 5]), 2) == [first, second]


def test_a_key_is_anchor_index_digest():
    digests = chain_digests(SEED, token_ids(range_list(3 * GROUP_PAGES)), 1)
    keys = anchored_keys(SEED, digests)
    for i, (key, digest) in enumerate(zip(keys, digests, strict=True)):
        start = i - i % GROUP_PAGES
        anchor = digests[start - 1] if start else SEED
        assert key == anchor[:12] + (i % GROUP_PAGES).to_bytes(2, "big") + digest[:14]
        assert page_index(key) == i % GROUP_PAGES


def range_list(n):
    return list(range(n))


def test_the_last_key_of_a_group_tells_the_next_groups_anchor():
    keys = keys_of(range_list(200), 1)
    assert child_anchor(keys[63]) == keys[64][:12]
    assert child_anchor(keys[127]) == keys[128][:12]


def test_a_groups_keys_are_neighbours_in_order():
    keys = keys_of(range_list(300), 1)
    for start in range(0, 300, GROUP_PAGES):
        group = keys[start : start + GROUP_PAGES]
        assert group == sorted(group)
        assert len({key[:12] for key in group}) == 1


def test_tokens_after_the_last_whole_page_do_not_count():
    assert keys_of([1, 2, 3]) == keys_of([1, 2])
    assert keys_of([1]) == keys_of([]) == []


def test_namespaces_and_page_sizes_keep_prefixes_apart():
    tokens = range_list(12)
    forms = [keys_of(tokens), keys_of(tokens, 3), keys_of(tokens, 2, hashlib.sha256(b"other").digest())]
    assert not set(forms[0]) & set(forms[1])
    assert not set(forms[0]) & set(forms[2])


prompts = st.lists(st.integers(0, 2), max_size=12)


@given(prompts, prompts)
def test_keys_are_equal_exactly_as_far_as_whole_pages_are(a, b):
    same = 0
    while same < min(len(a), len(b)) // 2 and a[: 2 * same + 2] == b[: 2 * same + 2]:
        same += 1
    keys_a, keys_b = keys_of(a), keys_of(b)
    assert keys_a[:same] == keys_b[:same]
    assert not set(keys_a[same:]) & set(keys_b)


@given(st.lists(prompts, max_size=8))
def test_a_chain_that_remembers_gives_the_same_keys_as_a_fresh_one(asked):
    chain = KeyChain(SEED, 2)
    for tokens in asked:
        assert list(chain.keys(token_ids(tokens))) == keys_of(tokens)


def test_a_remembered_prompt_does_not_follow_the_callers_array():
    tokens = np.arange(8, dtype=np.uint32)
    chain = KeyChain(SEED, 2)
    before = list(chain.keys(tokens))
    tokens[0] = 99
    assert list(chain.keys(tokens)) == keys_of([99, *range(1, 8)])
    assert list(chain.keys(token_ids(range_list(8)))) == before
