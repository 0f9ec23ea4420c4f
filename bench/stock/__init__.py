"""Engines' own page backends, and ours behind the same calls, as subjects of the conformance kit: a module per engine.

Each module needs its engine, so each is used from that engine's environment.
"""
