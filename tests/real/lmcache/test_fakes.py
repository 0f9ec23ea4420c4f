"""The fakes that `make test` uses are LMCache's in signature."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest
from lmcache.lmcache_native import Bitmap
from lmcache.utils import CacheEngineKey
from lmcache.v1.distributed.api import MemoryLayoutDesc, ObjectKey
from lmcache.v1.distributed.internal_api import L2AdapterListener, L2StoreResult
from lmcache.v1.distributed.l2_adapters.base import AdapterUsage, L2AdapterInterface
from lmcache.v1.memory_management import MemoryObj, MemoryObjMetadata
from lmcache.v1.platform import EventNotifier
from lmcache.v1.storage_backend.abstract_backend import StorageBackendInterface, StoragePluginInterface
from lmcache.v1.storage_backend.local_cpu_backend import LocalCPUBackend

from lsmkv_tensor.adapters.lmcache.parts import lmcache_parts
from lsmkv_tensor.adapters.lmcache_l2 import L2Pages, LsmkvL2Adapter
from lsmkv_tensor.adapters.lmcache_plugin import ChunkPages, LsmkvStoragePlugin
from tests.adapters.lmcache import fakes


def parameters(function):
    """Names, kinds and whether they may be left out."""
    return [(p.name, p.kind, p.default is p.empty) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(
    "name", [name for name in vars(fakes.L2AdapterInterface) if callable(vars(fakes.L2AdapterInterface)[name]) and name != "_add"]
)
def test_the_base_class(name):
    assert parameters(getattr(fakes.L2AdapterInterface, name)) == parameters(getattr(L2AdapterInterface, name))


@pytest.mark.parametrize("name", sorted(L2AdapterInterface.__abstractmethods__ | {"delete", "list_l2_keys", "report_status"}))
def test_the_adapters_calls(name):
    assert parameters(getattr(L2Pages, name)) == parameters(getattr(L2AdapterInterface, name))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(fakes.ObjectKey, ObjectKey), (fakes.AdapterUsage, AdapterUsage), (fakes.MemoryLayoutDesc, MemoryLayoutDesc)],
)
def test_records(ours, theirs):
    assert [f.name for f in fields(ours)] == [f.name for f in fields(theirs)]


@pytest.mark.parametrize(
    ("ours", "theirs"), [(fakes.MemoryObj, MemoryObj), (fakes.Bell, EventNotifier), (fakes.Listener, L2AdapterListener)]
)
def test_what_is_called_of_others(ours, theirs):
    for name in vars(ours):
        if not name.startswith("_") and hasattr(vars(ours)[name], "__get__"):
            if isinstance(vars(ours)[name], property):
                assert isinstance(getattr(theirs, name), property)
            else:
                assert parameters(vars(ours)[name]) == parameters(getattr(theirs, name)), name


def test_the_plug_ins_base_class():
    assert parameters(fakes.StoragePluginInterface) == parameters(StoragePluginInterface)
    assert parameters(fakes.Plugin) == parameters(LsmkvStoragePlugin) == parameters(StoragePluginInterface)
    assert not inspect.isabstract(LsmkvStoragePlugin)


PLUGIN_CALLS = sorted(
    StorageBackendInterface.__abstractmethods__
    | {"batched_contains", "batched_async_contains", "batched_get_blocking", "batched_get_non_blocking", "batched_remove"}
)


@pytest.mark.parametrize("name", PLUGIN_CALLS)
def test_the_plug_ins_calls(name):
    assert parameters(getattr(ChunkPages, name)) == parameters(getattr(StorageBackendInterface, name))


def test_what_the_plug_in_is_given():
    assert parameters(fakes.LocalCPUBackend.allocate) == parameters(LocalCPUBackend.allocate)
    for name in ("ref_count_up", "ref_count_down"):
        assert parameters(getattr(fakes.CountedObj, name)) == parameters(getattr(MemoryObj, name))
    assert {f.name for f in fields(fakes.MemoryObjMetadata)} <= {f.name for f in fields(MemoryObjMetadata)}
    assert {f.name for f in fields(fakes.CacheEngineKey)} <= {f.name for f in fields(CacheEngineKey)}


def test_its_parts():
    parts = lmcache_parts()
    bits = parts.bitmap([True, False, True])
    assert isinstance(bits, Bitmap)
    assert [bits.test(i) for i in range(3)] == [True, False, True]
    assert parameters(L2StoreResult.__new__)[1:] == [
        ("success", inspect.Parameter.POSITIONAL_OR_KEYWORD, True),
        ("bytes_transferred", inspect.Parameter.POSITIONAL_OR_KEYWORD, True),
    ]
    assert (parts.store_result(True, 3).is_successful(), parts.store_result(False, 0).is_successful()) == (True, False)
    bell = parts.notifier()
    assert bell.fileno() >= 0
    bell.close()
    assert inspect.isabstract(L2AdapterInterface)
    assert not inspect.isabstract(LsmkvL2Adapter)
