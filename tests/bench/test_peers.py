"""Subjects that keep books of their own keep them right."""

import numpy as np
import pytest

from bench.data import chain_digests, random_pages
from bench.peers import UnavailableError
from bench.peers.indexed import SafetensorsRocks

PAGE_BYTES = 4096


@pytest.fixture
def opened(tmp_path):
    """Opens the subject, again and again, at one place."""
    stores = []

    def open_once():
        for store in stores:
            store.close()
        try:
            stores.append(SafetensorsRocks(tmp_path / "store", PAGE_BYTES))
        except UnavailableError as error:
            pytest.skip(str(error))
        return stores[-1]

    yield open_once
    for store in stores:
        store.close()


def test_files_found_through_an_index_outlive_a_restart_and_go_with_their_last_page(opened, tmp_path):
    keys, pages = chain_digests(8, 1), random_pages(8, PAGE_BYTES, 1)
    store = opened()
    store.put_batch(keys[:4], pages[:4])
    store.put_batch(keys[4:], pages[4:])
    store = opened()
    out = np.zeros((3, PAGE_BYTES), np.uint8)
    store.get_batch([keys[6], keys[1], keys[5]], out)
    assert np.array_equal(out, pages[[6, 1, 5]])
    assert store.probe(keys) == 8
    store.delete_batch(keys[:3])
    assert store.probe(keys) == 0
    assert len(list((tmp_path / "store").glob("*.safetensors"))) == 2
    store = opened()
    store.delete_batch(keys[3:4])
    assert [file.stem for file in (tmp_path / "store").glob("*.safetensors")] == ["00000002"]
    with pytest.raises(KeyError):
        store.get_batch(keys[3:5], out[:2])
    store.put_batch(keys[:4], pages[:4])
    store.get_batch(keys[3:6], out)
    assert np.array_equal(out, pages[3:6])
