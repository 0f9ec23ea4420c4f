"""The conformance kit over adapters under their real engines; where an engine is not installed, its file is not collected."""

from __future__ import annotations

from tests.real.installed import ENGINES, is_installed

collect_ignore = [f"test_{engine}.py" for engine in ENGINES if not is_installed(engine)]
