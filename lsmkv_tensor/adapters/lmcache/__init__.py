"""What the adapters for LMCache are made of; their doors are ``lmcache_l2`` and ``lmcache_plugin`` beside it."""
