"""Room lsmkv.cli (see its modules)."""
