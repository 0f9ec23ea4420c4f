"""The real vLLM's tiering manager, where it is installed: `make test-vllm` installs it. Elsewhere nothing here is collected."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("vllm") is None:
    collect_ignore_glob = ["*.py"]
