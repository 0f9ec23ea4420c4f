"""Room lsmkv.recover (see its modules)."""
