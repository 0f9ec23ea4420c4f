"""The configuration on the page of the adapter is taken by SGLang as it stands there."""

from __future__ import annotations

import json

from sglang.srt.mem_cache.storage.backend_factory import StorageBackendFactory
from sglang.srt.server_args import ServerArgs

from lsmkv_tensor.adapters.sglang import LsmkvHiCache
from tests.real.hicache.world import Makers, host_pool
from tests.real.pages import arguments


def test_the_command_line_of_the_page(tmp_path):
    (given,) = arguments("sglang")
    taken = ServerArgs(
        model_path="none",
        enable_hierarchical_cache=True,
        hicache_storage_backend="dynamic",
        hicache_storage_backend_extra_config=json.dumps(given),
    )
    extra = json.loads(taken.hicache_storage_backend_extra_config)
    extra["lsmkv"]["path"] = str(tmp_path)
    makers = Makers(tmp_path)
    pool = host_pool("page_first", pages=8)
    backend = StorageBackendFactory.create_backend("dynamic", makers.config(extra), pool)
    makers.made.append(backend)
    assert isinstance(backend, LsmkvHiCache)
    assert (backend.holding.state, backend.config.options.capacity_bytes) == ("own", 10**12)
    makers.close()
