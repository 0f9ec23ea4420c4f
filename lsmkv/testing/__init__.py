"""Room lsmkv.testing (see its modules)."""
