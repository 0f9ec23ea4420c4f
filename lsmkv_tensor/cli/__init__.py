"""What the tensor package adds to the command ``lsmkv``: the demo, page stores, and their files."""

from lsmkv_tensor.cli.register import register

__all__ = ["register"]
