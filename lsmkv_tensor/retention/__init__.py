"""Room lsmkv_tensor.retention (see its modules)."""
