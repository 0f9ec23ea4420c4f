"""SGLang's cache code on a machine without a GPU: what it imports and never calls is a stub, its copy kernels torch indexing.

Import this before SGLang. Host pools, controllers, threads, hashes and the radix tree are SGLang's own.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import distribution
from types import ModuleType

import torch


class _Nothing(Loader, MetaPathFinder):
    """Modules whose attributes are anything; made by the class that SGLang has for machines without Triton."""

    def __init__(self, name):
        self._name = name
        where = distribution("sglang").locate_file("sglang/_platform_stubs.py")
        spec = importlib.util.spec_from_file_location("sglang_platform_stubs", where)
        self.stubs = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = self.stubs
        spec.loader.exec_module(self.stubs)

    def find_spec(self, fullname, path=None, target=None):
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] == self._name else None

    def create_module(self, spec) -> ModuleType:
        return self.stubs._MockModule(spec.name)

    def exec_module(self, module): ...


class _Constant:
    """``triton.language.constexpr``: annotations name it."""

    def __init__(self, value=None):
        self.value = value


def stub_triton():
    """An importable ``triton`` where there is none."""
    if importlib.util.find_spec("triton") is not None:
        return
    finder = _Nothing("triton")
    sys.meta_path.append(finder)
    import triton
    import triton.language
    import triton.runtime.jit

    triton.__version__ = "3.0.0"
    for name in ("cdiv", "next_power_of_2", "Config"):
        setattr(triton, name, getattr(finder.stubs, f"_{name}"))
    triton.language.constexpr = _Constant
    triton.runtime.jit.JITFunction = type("JITFunction", (), {})


def import_torchvision():
    """torchvision's operators are not built for this torch: what it registers for them is left out."""
    real = torch.library.register_fake
    torch.library.register_fake = lambda op, *rest, **named: (
        (lambda function: function) if str(op).startswith("torchvision::") else real(op, *rest, **named)
    )
    try:
        import torchvision  # noqa: F401 - its operators are registered now
    finally:
        torch.library.register_fake = real


def _views(pool, layer):
    """K and V of one layer in the host pool, tokens first."""
    k, v = pool.kv_buffer[0], pool.kv_buffer[1]
    if pool.layout == "layer_first":
        return k[layer], v[layer]
    if pool.layout == "page_first":
        return k[:, layer], v[:, layer]
    raise NotImplementedError(pool.layout)


def _backup(pool, device_pool, host_indices, device_indices, io_backend):
    for layer in range(pool.layer_num):
        for host, device in zip(_views(pool, layer), (pool.device_k_buffers[layer], pool.device_v_buffers[layer]), strict=True):
            host[host_indices] = device[device_indices]


def _load(pool, device_pool, host_indices, device_indices, layer_id, io_backend, *, is_draft=False):
    if is_draft or 0 <= layer_id < pool.target_layer_num:
        for host, device in zip(
            _views(pool, layer_id), (pool.device_k_buffers[layer_id], pool.device_v_buffers[layer_id]), strict=True
        ):
            device[device_indices] = host[host_indices]


def _copy(src, dst, src_indices, dst_indices, io_backend):
    dst[dst_indices] = src[src_indices]


def _copy_layer(src, dst, src_indices, dst_indices, layer_id, num_layers, io_backend):
    dst[dst_indices] = src[src_indices, layer_id].reshape(len(dst_indices), *dst.shape[1:])


def _copy_layers(src_layers, dst, src_indices, dst_indices, num_layers, io_backend, **_):
    for layer in range(num_layers):
        dst[dst_indices, layer] = src_layers[layer][src_indices].reshape(len(dst_indices), *dst.shape[2:])


def _unpinned(kind):
    """Host pools of this class, once they are there, no longer ask for pinned memory: there is no GPU to pin it for."""
    made = kind.__init__

    def init(pool, *rest, **named):
        made(pool, *rest, **named)
        pool.pin_memory = False

    kind.__init__ = init


def use_cpu():
    """Replace the kernels and what asks for a GPU."""
    from sglang.srt.mem_cache.pool_host import common
    from sglang.srt.mem_cache.pool_host.mamba import MambaPoolHost
    from sglang.srt.mem_cache.pool_host.mha import MHATokenToKVPoolHost
    from sglang.test.kits.unified_radix_cache import fixtures

    fixtures.get_device = lambda: "cpu"
    common._cuda_host_register = lambda *_, **__: None
    _unpinned(MHATokenToKVPoolHost)
    _unpinned(MambaPoolHost)
    MHATokenToKVPoolHost.backup_from_device_all_layer = _backup
    MHATokenToKVPoolHost.load_to_device_per_layer = _load
    MambaPoolHost._copy_tensor = staticmethod(_copy)
    MambaPoolHost._copy_tensor_pf_lf = staticmethod(_copy_layer)
    MambaPoolHost._copy_tensor_all_layers_lf_pf = staticmethod(_copy_layers)


stub_triton()
import_torchvision()
use_cpu()
