"""The command ``lsmkv``. Importing this package needs nothing; running it needs the ``cli`` extra (typer and rich)."""

from lsmkv.cli.main import main

__all__ = ["main"]
