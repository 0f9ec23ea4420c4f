"""What the controller of a page store once got wrong, a bug a test."""

from __future__ import annotations

import numpy as np
import pytest

from lsmkv_tensor import StoreController
from lsmkv_tensor.retention.admission import AdmitAll
from lsmkv_tensor.retention.evictions import Lru
from lsmkv_tensor.retention.shadows import MINIATURE_PAGES, Miniature
from lsmkv_tensor.retention.steering import Done, Steering
from lsmkv_tensor.trace.blocks import prints_of

PAGE = 4096


def test_of_a_prompt_that_does_not_fit_the_leaves_are_left_out():
    """A miniature took what fitted from the leaf on, and kept pages that no prompt can use without their root."""
    small = Miniature(3 * PAGE, Lru(3 * PAGE), AdmitAll(3 * PAGE))
    leaf_to_root = prints_of(np.arange(5))
    small.use(leaf_to_root, np.full(5, PAGE))
    assert small.written_bytes == 3 * PAGE
    small.use(leaf_to_root[2:], np.full(3, PAGE))
    assert small.delivered_bytes == 3 * PAGE


@pytest.mark.parametrize("first", [PAGE // 8, PAGE * 64])
def test_a_first_page_unlike_all_others_does_not_decide_what_is_sampled(first):
    """Miniatures were sized by the first page: one of 256 KiB among pages of 4 KiB had 64 times too many pages followed."""
    capacity = 8 * MINIATURE_PAGES * PAGE
    steering = Steering(StoreController(), "all", capacity, Lru)
    steering.serve(AdmitAll(capacity), lambda: Done(0, 0, 0))
    steering.note(prints_of(np.arange(1)), np.full(1, first))
    for at in range(1, 2 * MINIATURE_PAGES, 64):
        steering.note(prints_of(np.arange(at, at + 64)), np.full(64, PAGE))
    assert steering.stats().windows >= 1
    assert 1 / 16 <= steering.stats().sampled <= 1 / 4


def test_miniatures_of_about_the_right_size_are_kept():
    capacity = 8 * MINIATURE_PAGES * PAGE
    steering = Steering(StoreController(), "all", capacity, Lru)
    steering.serve(AdmitAll(capacity), lambda: Done(0, 0, 0))
    for at in range(0, 40 * MINIATURE_PAGES, 64):
        steering.note(prints_of(np.arange(at, at + 64)), np.full(64, PAGE if at % 128 else 2 * PAGE))
    assert steering.stats().idle == ""
    assert steering.stats().sampled == 1 / 4


@pytest.mark.parametrize(("there", "saved"), [(True, 10 * PAGE), (False, 0)])
def test_a_page_that_was_moved_then_evicted_and_is_stored_again_was_moved_in_vain(there, saved):
    """Storing it again counted as a hit that the move had saved."""
    capacity = 64 * PAGE
    steering = Steering(StoreController(window=0.5), "all", capacity, Lru)
    steering.serve(AdmitAll(capacity), lambda: Done(0, 0, 0))
    pages, sizes = prints_of(np.arange(10)), np.full(10, PAGE)
    steering.note(pages, sizes, there=False)
    steering.note_moved(pages, sizes)
    steering.note(pages, sizes, there=there)
    steering.note(pages, sizes)  # for a move that was in vain, or has been counted, this is no hit saved
    steering.note(prints_of(np.arange(10, 20)), sizes, there=False)
    assert steering.stats().windows == 1
    assert steering.stats().saved_bytes == saved
