"""Room lsmkv.policy (see its modules)."""
