"""Room lsmkv_tensor.cli (see its modules)."""
