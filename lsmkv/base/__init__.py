"""Room lsmkv.base (see its modules)."""
