"""Room lsmkv.read (see its modules)."""
