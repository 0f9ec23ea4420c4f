"""Engines that keep their KV caches here. Each module loads without its engine and says clearly when it is missing."""
