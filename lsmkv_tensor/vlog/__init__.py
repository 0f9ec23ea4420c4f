"""Room lsmkv_tensor.vlog (see its modules)."""
