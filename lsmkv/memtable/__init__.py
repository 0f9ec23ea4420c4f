"""Room lsmkv.memtable (see its modules)."""
