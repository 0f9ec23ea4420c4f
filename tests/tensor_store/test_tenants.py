"""A tenant's salt keeps its pages to itself: others neither read, probe, replace nor drop them, whatever else they know."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lsmkv_tensor import NamespaceMismatchError, PageFormat, PageStore, StoreOptions, TensorStore
from lsmkv_tensor.errors import InvalidArgumentError

FMT = PageFormat(page_tokens=4, shape=(2, 64), dtype=torch.int8)
TOKENS = list(range(40))
OPTIONS = StoreOptions(capacity_bytes=32 << 20, segment_bytes=256 << 10)


@pytest.fixture
def tenant(tmp_path):
    """Opens the one store as a tenant."""

    def open_as(salt, fmt=FMT, **more):
        return TensorStore.open(str(tmp_path / "store"), fmt, namespace="model", salt=salt, options=OPTIONS, **more)

    return open_as


def pages(seed: int):
    return torch.from_numpy(np.random.default_rng(seed).integers(-99, 99, (10, *FMT.shape)).astype(np.int8))


@pytest.mark.parametrize("other", ["bob", "alice ", None, b"\xff"])
def test_another_tenant_sees_nothing_and_changes_nothing(tenant, other):
    with tenant("alice") as store:
        assert store.put_batch(TOKENS, pages(1)) == 10
        assert store.probe(TOKENS) == 40
    with tenant(other) as store:
        assert store.probe(TOKENS) == 0
        assert store.get_batch(TOKENS) == []
        assert store.drop(TOKENS[:4]) == 0
        assert store.put_batch(TOKENS, pages(2)) == 10
        assert torch.equal(torch.stack(store.get_batch(TOKENS)), pages(2))
    with tenant("alice") as store:
        assert torch.equal(torch.stack(store.get_batch(TOKENS)), pages(1))


def test_a_tenants_keys_are_of_no_use_in_another_namespace(tenant, tmp_path):
    """Somebody who got hold of the keys still needs the namespace: numbers come first in the index, and the check knows them."""
    with tenant("alice") as store:
        store.put_batch(TOKENS, pages(1))
        keys = list(store._namespace.keys())
    with tenant("bob") as store:
        out = torch.zeros(10, *FMT.shape, dtype=torch.int8)
        assert not store._namespace.contains(keys).any()
        assert store._namespace.get_into(keys, out) == [False] * 10
        assert not out.any()


def test_bytes_and_text_are_the_same_salt_and_the_secret_is_not_stored(tenant, tmp_path):
    secret = "correct horse battery staple"
    with tenant(secret) as store:
        store.put_batch(TOKENS, pages(1))
    with tenant(secret.encode()) as store:
        assert store.probe(TOKENS) == 40
    with PageStore.open(str(tmp_path / "store"), options=OPTIONS) as store:
        (info,) = store.namespaces()
    assert secret not in str(info)
    assert info.names == (f"model (salt {info.fields['salt'][:16]})",)
    assert not any(secret.encode() in file.read_bytes() for file in (tmp_path / "store").rglob("*") if file.is_file())


def test_another_format_under_a_name_is_refused_for_each_tenant_by_itself(tenant):
    other = PageFormat(page_tokens=4, shape=(2, 128), dtype=torch.int8)
    tenant("alice").close()
    tenant("bob", other).close()
    for salt, fmt in (("alice", other), ("bob", FMT)):
        with pytest.raises(NamespaceMismatchError, match="shape"):
            tenant(salt, fmt)


@pytest.mark.parametrize("salt", ["", b"", 5, True])
def test_what_is_no_salt_is_refused(tenant, salt):
    with pytest.raises(InvalidArgumentError, match="salt"):
        tenant(salt)
