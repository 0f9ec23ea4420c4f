"""Room lsmkv.cache (see its modules)."""
