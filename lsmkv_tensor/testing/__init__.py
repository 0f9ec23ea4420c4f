"""For tests of what is built on the tensor store."""

from lsmkv_tensor.testing.memory import MemoryNamespace

__all__ = ["MemoryNamespace"]
