"""What serves every call of the store: the gate that calls pass and ``close`` waits for."""

from lsmkv_tensor.runtime.gate import CallGate

__all__ = ["CallGate"]
