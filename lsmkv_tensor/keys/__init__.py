"""Room lsmkv_tensor.keys (see its modules)."""
