"""What serves every call of the store: the gate that calls pass and ``close`` waits for."""

from lsmkv.env.gate import CallGate

__all__ = ["CallGate"]
