"""Room lsmkv_tensor.adapters (see its modules)."""
