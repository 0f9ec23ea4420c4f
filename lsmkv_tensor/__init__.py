"""Room lsmkv_tensor (see its modules)."""
