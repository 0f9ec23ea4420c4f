"""The player as one file: markup, style, script and data in a single page that needs no network and no server."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files

__all__ = ["page"]


def page(document: str) -> str:
    """The HTML page that plays ``document`` (from :func:`lsmkv.lab.playback.encode`). I/O: reads the player's parts."""
    parts = files("lsmkv.lab")
    html, style, script = (parts.joinpath(f"player.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    title = escape(str(json.loads(document)["title"]))
    inert = document.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")  # no </script> inside
    for mark, text in (("{{title}}", title), ("/*{{style}}*/", style), ("/*{{script}}*/", script), ("{{data}}", inert)):
        html = html.replace(mark, text)
    return html
