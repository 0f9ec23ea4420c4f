"""The stand-ins of the quick tests are true: the same calls, parameters and fields as the installed vLLM's."""

from __future__ import annotations

import dataclasses
import inspect
from importlib import import_module
from importlib.util import find_spec

import pytest

from tests.adapters.vllm import fakes

pytestmark = pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed here: make test-vllm installs it")

CONNECTOR = "vllm.distributed.kv_transfer.kv_connector.v1.base"
METRICS = "vllm.distributed.kv_transfer.kv_connector.v1.metrics"
TIERING = "vllm.v1.kv_offload.tiering.base"
OFFLOAD = "vllm.v1.kv_offload.base"
OUTPUT = "vllm.v1.core.sched.output"


def real(module, name):
    return getattr(import_module(module), name)


def parameters(function):
    kinds = [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]
    return [p for p in kinds if p[0] not in ("self", "cls")]


@pytest.mark.parametrize(
    ("kind", "module"),
    [("KVConnectorBase_V1", CONNECTOR), ("KVConnectorStats", METRICS), ("SecondaryTierManager", TIERING)],
)
def test_the_stand_ins_have_the_signatures_of_the_real_ones(kind, module):
    theirs = real(module, kind)
    for name, fake in inspect.getmembers(getattr(fakes, kind), inspect.isfunction):
        assert parameters(fake) == parameters(getattr(theirs, name)), name


@pytest.mark.parametrize(("kind", "module"), [("KVConnectorBase_V1", CONNECTOR), ("SecondaryTierManager", TIERING)])
def test_nothing_that_must_be_written_is_missing(kind, module):
    assert real(module, kind).__abstractmethods__ <= set(vars(getattr(fakes, kind)))


def test_ours_can_be_made():
    from lsmkv_tensor.adapters.vllm_connector import LsmkvConnector
    from lsmkv_tensor.adapters.vllm_tier import LsmkvTier

    assert issubclass(LsmkvConnector, real(CONNECTOR, "KVConnectorBase_V1"))
    assert issubclass(LsmkvTier, real(TIERING, "SecondaryTierManager"))
    assert not LsmkvConnector.__abstractmethods__ | LsmkvTier.__abstractmethods__


RECORDS = [("TransferJob", TIERING), ("JobResult", TIERING), ("NewRequestData", OUTPUT), ("CachedRequestData", OUTPUT)]


@pytest.mark.parametrize(("kind", "module"), RECORDS)
def test_records_have_the_fields_that_are_read(kind, module):
    theirs = {f.name for f in dataclasses.fields(real(module, kind))}
    assert {f.name for f in dataclasses.fields(getattr(fakes, kind))} <= theirs


def test_what_a_step_says_is_what_is_read():
    assert {f.name for f in dataclasses.fields(fakes.SchedulerOutput)} <= {
        f.name for f in dataclasses.fields(real(OUTPUT, "SchedulerOutput"))
    }
    blocks = parameters(real("vllm.v1.core.kv_cache_manager", "KVCacheBlocks").get_block_ids)
    assert blocks[:1] == parameters(fakes.KVCacheBlocks.get_block_ids)
    assert all(kind is inspect.Parameter.KEYWORD_ONLY for _, kind, _ in blocks[1:])


def test_verdicts_and_roles_have_the_same_names():
    assert [r.name for r in fakes.LookupResult] == [r.name for r in real(OFFLOAD, "LookupResult")]
    assert [r.name for r in fakes.KVConnectorRole] == [r.name for r in real(CONNECTOR, "KVConnectorRole")]
    assert parameters(fakes.ReqContext.get_offload_key_position) == parameters(
        real(OFFLOAD, "ReqContext").get_offload_key_position
    )


def test_a_request_has_what_is_read_of_it():
    source = inspect.getsource(real("vllm.v1.request", "Request"))
    assert all(f"self.{name}" in source or f"def {name}(" in source for name in fakes.REQUEST)


@pytest.mark.parametrize("kind", sorted(fakes.CONFIGS))
def test_configurations_have_what_is_read_of_them(kind):
    theirs = real("vllm.config", kind)
    names = {f.name for f in dataclasses.fields(theirs)} | set(dir(theirs))
    assert set(fakes.CONFIGS[kind]) - {"hf_text_config"} <= names


def test_caches_have_what_is_read_of_them():
    names = {f.name for f in dataclasses.fields(real("vllm.v1.kv_cache_interface", "KVCacheConfig"))}
    assert set(fakes.CACHES) <= names
    assert hasattr(real("vllm.v1.kv_cache_interface", "FullAttentionSpec"), "__dataclass_fields__")
    assert hasattr(real("vllm.config.speculative", "SpeculativeConfig"), "use_eagle")


@pytest.mark.parametrize("kind", sorted(fakes.OFFLOADING))
def test_what_the_tier_is_told_has_what_is_read_of_it(kind):
    names = {f.name for f in dataclasses.fields(real("vllm.v1.kv_offload.config", kind))}
    assert set(fakes.OFFLOADING[kind]) <= names
