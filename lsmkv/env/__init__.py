"""Room lsmkv.env (see its modules)."""
