"""A TensorStore of several processes: one model, a directory each, one prefix."""

from __future__ import annotations

import pytest
import torch

from lsmkv_tensor import PageFormat, TensorStore
from lsmkv_tensor.errors import InvalidArgumentError, ReadOnlyError
from lsmkv_tensor.sharing import Sharing
from tests.sharing.conftest import ROOT, Root

FORMAT = PageFormat(page_tokens=4, shape=(2, 4, 32), dtype=torch.float32)


def tokens(pages: int, conversation: int = 0) -> list[int]:
    return [conversation, *range(4 * pages - 1)]


def tensors(pages: int, first: int = 0) -> torch.Tensor:
    return torch.arange(first, first + pages, dtype=torch.float32)[:, None, None, None].expand(pages, 2, 4, 32).contiguous()


def opened(root: Root, member: str | None, *, read_only: bool = False, sharing: Sharing | None = None) -> TensorStore:
    store = TensorStore.open(
        ROOT, FORMAT, namespace="m", options=root.options(16), member=member, read_only=read_only, sharing=sharing
    )
    root.stores.append(store)
    return store


def test_ranks_read_what_one_of_them_wrote(root: Root) -> None:
    writer, reader, third = opened(root, "rank0"), opened(root, None, read_only=True), opened(root, "rank1")
    assert writer.put_batch(tokens(5), tensors(5)) == 5
    for store in (reader, third):
        assert store.probe(tokens(7)) == 20
        assert torch.equal(torch.stack(store.get_batch(tokens(7))), tensors(5))
    assert reader.stats().sharing.hits == 5


def test_a_reader_refuses_to_write(root: Root) -> None:
    reader = opened(root, None, read_only=True)
    calls = [
        lambda: reader.put_batch(tokens(1), tensors(1)),
        lambda: reader.drop(tokens(1)),
        reader.gc,
        lambda: reader.export_pack("/pack"),
        lambda: reader.import_pack("/pack"),
        reader.sync,
    ]
    for call in calls:
        with pytest.raises(ReadOnlyError):
            call()
    with pytest.raises(InvalidArgumentError, match="read_only"):
        opened(root, "rank0", read_only=True)


def test_a_continuation_is_stored_behind_a_siblings_prefix(root: Root) -> None:
    """The second stores only what is new, and the way to it from the first page, so that its drop finds it."""
    first, second = opened(root, "a"), opened(root, "b")
    root.clock.advance(0.1)
    first.put_batch(tokens(70), tensors(70))
    assert second.put_batch(tokens(80), tensors(80)) == 10
    assert second.stats().pages == 10
    assert first.probe(tokens(80)) == second.probe(tokens(80)) == 320
    assert torch.equal(torch.stack(first.get_batch(tokens(80))), tensors(80))
    assert second.drop(tokens(10)) == 10, "what lies below a sibling's page is found and dropped"
    assert second.stats().pages == 0
    assert second.probe(tokens(80)) == 280, "the sibling's pages are its own"
    assert first.drop(tokens(10)) == 61
    root.clock.advance(0.1)
    assert second.probe(tokens(80)) == 36


def test_pages_already_held_are_not_newly_stored(root: Root) -> None:
    first, second = opened(root, "a"), opened(root, "b")
    root.clock.advance(0.1)
    assert first.put_batch(tokens(3), tensors(3)) == 3
    assert second.put_batch(tokens(3), tensors(3)) == 0
    assert not list(second._namespace.records()), "and leave no trails"
    keeps = opened(root, "c", sharing=Sharing(store_held=True))
    assert keeps.put_batch(tokens(3), tensors(3)) == 3


def test_tidying_looks_at_the_pages_of_its_own_store(root: Root) -> None:
    """A trail to a page that only a sibling holds leads nowhere here."""
    first, second = opened(root, "a", sharing=Sharing(follow=())), opened(root, "b")
    second.put_batch(tokens(3), tensors(3))
    first.put_batch(tokens(3), tensors(3))
    root.clock.advance(0.1)
    namespace = second._namespace
    keys = second._keys(tokens(3))
    namespace.delete_many([keys[2]])
    assert second.probe(tokens(3)) == 12
    second.gc()
    assert [last for last, _ in namespace.records()] == [keys[1]]
