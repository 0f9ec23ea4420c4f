"""Room lsmkv.wal (see its modules)."""
