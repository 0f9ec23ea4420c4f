"""Room lsmkv.maintain (see its modules)."""
