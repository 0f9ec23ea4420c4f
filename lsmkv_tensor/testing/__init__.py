"""Room lsmkv_tensor.testing (see its modules)."""
