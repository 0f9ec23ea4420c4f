"""The real vLLM's tiering manager, where it is installed: `make test-vllm` installs it. Elsewhere nothing here is collected."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    INSTALLED = version("vllm")  # not the build for CPUs, which is of another version
except PackageNotFoundError:
    INSTALLED = None

if INSTALLED is None:
    collect_ignore_glob = ["*.py"]
