"""What serves every call of the store: the gate that calls pass and ``close`` waits for."""

from lsmkv.env.gate import CallGate
from lsmkv_tensor.runtime.gate import StoreGate

__all__ = ["CallGate", "StoreGate"]
