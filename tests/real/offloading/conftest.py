"""The real vLLM's tiering manager, where it is installed: `make test-vllm` installs it. Elsewhere nothing here is collected."""

from __future__ import annotations

from tests.real.installed import is_installed

if not is_installed("vllm"):
    collect_ignore_glob = ["*.py"]
