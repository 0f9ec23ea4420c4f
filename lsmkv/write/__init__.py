"""Room lsmkv.write (see its modules)."""
