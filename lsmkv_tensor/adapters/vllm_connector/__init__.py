"""vLLM: a KV connector over a page store, for engines without a tier of host memory between the GPU and the disk.

::

    --kv-transfer-config '{"kv_connector": "LsmkvConnector", "kv_role": "kv_both",
        "kv_connector_module_path": "lsmkv_tensor.adapters.vllm_connector", "kv_load_failure_policy": "recompute",
        "kv_connector_extra_config": {"path": "/nvme/kv", "max_bytes": 1000000000000}}'

Written for vLLM 0.32 and 0.33. Where the offloading connector runs (CUDA, XPU), :mod:`lsmkv_tensor.adapters.vllm_tier` is the
better one: it keeps blocks in host memory too. This one runs wherever vLLM does, a CPU included.

Two roles, in one process or in several::

    scheduler   asks how long a prefix is stored, in the background; says which blocks are to be read and written
    worker      (one a rank) has the rank's directory, reads blocks into the paged cache, copies full blocks out of it

Only workers own a directory. The scheduler follows all of them, reading nothing but their indexes, and believes what every rank
has. What a rank's pages are called it learns from the rank itself (vLLM's handshake): attention layouts are known only there.

A page is one block of all layers of a rank; its key is vLLM's block hash, which covers all tokens before it, images, adapters and
the salt of the request.
"""

from lsmkv_tensor.adapters.vllm_connector.connector import LsmkvConnector

__all__ = ["LsmkvConnector"]
