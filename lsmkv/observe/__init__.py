"""Room lsmkv.observe (see its modules)."""
