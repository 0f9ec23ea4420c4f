"""The configurations that docs/adapters shows, as somebody copies them."""

from __future__ import annotations

import json
import re
from pathlib import Path

__all__ = ["arguments", "block"]

PAGES = Path(__file__).parents[2] / "docs" / "adapters"


def _blocks(page):
    """The code of a page."""
    return re.findall(r"^```\w*\n(.*?)^```", (PAGES / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def arguments(page):
    """The JSON objects in quotes: what a command line is given."""
    return [json.loads(found) for one in _blocks(page) for found in re.findall(r"'(\{.*?\})'", one, re.DOTALL)]


def block(page, word):
    """The code in which this word is."""
    (found,) = [one for one in _blocks(page) if word in one]
    return found
