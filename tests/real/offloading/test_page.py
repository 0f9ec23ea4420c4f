"""The configurations on the adapters' page are taken by vLLM as they stand there."""

from __future__ import annotations

from vllm.config import KVTransferConfig
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
from vllm.v1.kv_offload.tiering.factory import SecondaryTierFactory

from lsmkv_tensor.adapters.vllm_connector import LsmkvConnector
from lsmkv_tensor.adapters.vllm_connector.settings import read_settings
from lsmkv_tensor.adapters.vllm_tier import LsmkvTier
from tests.real.offloading.test_tiers import Engine
from tests.real.pages import arguments


def test_the_tiers_command_line(tmp_path):
    taken = KVTransferConfig(**arguments("vllm")[0])
    (tier,) = taken.kv_connector_extra_config["secondary_tiers"]
    assert SecondaryTierFactory.get_tier_class(tier) is LsmkvTier
    engine = Engine({**tier, "path": str(tmp_path)}, engine=tmp_path.name)
    assert engine.tier.holding.state == "own"
    engine.store([1])
    engine.empty_primary()
    assert engine.load([1, 2]) == [1]
    engine.close()


def test_the_connectors_command_line():
    taken = KVTransferConfig(**arguments("vllm")[1])
    assert KVConnectorFactory.get_connector_class(taken) is LsmkvConnector
    assert read_settings(taken.kv_connector_extra_config).options.capacity_bytes == 10**12
    assert taken.kv_load_failure_policy == "recompute"
