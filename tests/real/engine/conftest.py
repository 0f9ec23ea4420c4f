"""The real vLLM engine on a CPU: `make test-vllm-engine` installs it. Where it is not installed nothing here is collected."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("vllm") is None or find_spec("vllm._C") is None:
    collect_ignore_glob = ["*.py"]
