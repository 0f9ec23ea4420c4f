"""Room lsmkv.sstable (see its modules)."""
