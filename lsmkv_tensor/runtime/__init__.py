"""Room lsmkv_tensor.runtime (see its modules)."""
