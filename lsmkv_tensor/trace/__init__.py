"""Traces of requests: read, made, replayed against a cache of blocks or a real store."""
