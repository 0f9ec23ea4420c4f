"""Room lsmkv_tensor.codec (see its modules)."""
