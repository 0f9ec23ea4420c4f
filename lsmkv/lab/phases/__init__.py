"""Workloads that change, and who copes with them: ``lsmkv lab phases`` (see docs/controller.md)."""
