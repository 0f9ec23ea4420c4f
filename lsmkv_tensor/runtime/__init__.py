"""What serves every call of the store: the gate that calls pass, and what watches over the disk."""

from lsmkv.env.gate import CallGate
from lsmkv_tensor.runtime.gate import StoreGate
from lsmkv_tensor.runtime.health import Health
from lsmkv_tensor.runtime.tryout import try_disk

__all__ = ["CallGate", "Health", "StoreGate", "try_disk"]
