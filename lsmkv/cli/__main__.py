"""``python -m lsmkv.cli`` is ``lsmkv``."""

from lsmkv.cli.main import main

main()
