"""The conformance kit over adapters under their real engines; where an engine is not installed, its file is not collected."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [f"test_{engine}.py" for engine in ("sglang", "vllm", "lmcache") if find_spec(engine) is None]
