"""SGLang's hierarchical cache: its third tier in a page store. Loads without SGLang and without torch."""

from lsmkv_tensor.adapters.sglang.backend import LsmkvHiCache

__all__ = ["LsmkvHiCache"]
