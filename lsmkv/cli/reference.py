"""``docs/cli.md``, written from the command itself: ``python -m lsmkv.cli.reference docs/cli.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from lsmkv.cli.app import build_tools
from lsmkv.cli.tools import Tools

__all__ = ["reference"]

HEAD = """\
# The command `lsmkv`

Written by `make docs` from the command itself; `lsmkv COMMAND --help` says the same.

Results go to standard output, one line about a failure to standard error. With `--json` standard output holds one JSON
document and nothing else (also for a failure: `{"error": {"kind": ..., "message": ...}}`); byte strings are hexadecimal
there. Exit codes: 0 it worked, 2 something is wrong (a path, an argument, the store), 130 interrupted. `tree`, `stats`,
`verify` and `dump` take no lock and change nothing, so they also work beside a live writer.
"""


def reference(tools: Tools) -> str:
    """The whole page as Markdown."""
    group: Any = typer.main.get_command(tools.app)
    parts = [HEAD]
    parts += [_command(name, group.commands[name]) for name in sorted(group.commands)]
    return "\n".join(parts)


def _command(name: str, command: Any) -> str:  # noqa: ANN401 - typer gives its command objects no public type
    """One command: usage, what it does, its arguments and options."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join(["lsmkv", name, *(["[OPTIONS]"] if options else []), *(str(p.metavar or p.name).upper() for p in arguments)])
    lines = [f"## `lsmkv {name}`", "", f"    {usage}", "", " ".join(str(command.help or "").split()), ""]
    lines += [f"- `{str(p.metavar or p.name).upper()}`: {_sentence(p)}" for p in arguments]
    lines += list(_options(options))
    return "\n".join(lines) + "\n"


def _options(options: list[Any]) -> Iterator[str]:
    for option in options:
        names = ", ".join(option.opts)
        if option.is_flag:
            yield f"- `{names}`: {_sentence(option)}"
            continue
        metavar = option.metavar or getattr(option.type, "name", "value").upper()
        default = option.show_default if isinstance(option.show_default, str) else _default(option.default)
        suffix = f" Default: {default}." if default and "[default" not in str(option.help) else ""
        choices = getattr(option.type, "choices", None)
        if choices:
            metavar = "|".join(str(getattr(c, "value", c)) for c in choices)
        yield f"- `{names} {metavar}`: {_sentence(option)}{suffix}"


def _default(value: object) -> str:
    return "" if value is None or callable(value) else f"`{getattr(value, 'value', value)}`"


def _sentence(parameter: Any) -> str:  # noqa: ANN401 - as above
    return " ".join(str(parameter.help or "").split())


if __name__ == "__main__":
    page = reference(build_tools())
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)
