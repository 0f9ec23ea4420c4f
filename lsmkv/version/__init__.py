"""Room lsmkv.version (see its modules)."""
