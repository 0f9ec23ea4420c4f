"""``docs/cli.md``, written from the command itself: ``python -m lsmkv.cli.reference docs/cli.md``."""

from __future__ import annotations

import sys
from enum import Enum
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from lsmkv.cli.app import build_tools
from lsmkv.cli.tools import Tools

__all__ = ["reference"]

HEAD = """\
# The command `lsmkv`

Written by `make docs` from the command itself; `lsmkv COMMAND --help` says the same.

Results go to standard output, one line about a failure to standard error. With `--json` standard output holds one JSON
document and nothing else (also for a failure: `{"error": {"kind": ..., "message": ...}}`); byte strings are hexadecimal
there. Arguments that a command does not have are refused before that, on standard error alone. Exit codes: 0 it worked, 1 the
key that `get` was asked for is not there (or whoever read the output went away), 2 something is wrong (a path, an argument, the
store), 130 interrupted (`top`: 0, that is how one leaves it). `tree`, `stats`, `top`, `verify`, `dump`, `get` and `scan` take no
lock and change nothing, so they also work beside a live writer.
"""


def reference(tools: Tools) -> str:
    """The whole page as Markdown."""
    functions = {str(command.name or name(command.callback)): command.callback for command in tools.app.registered_commands}
    for group in tools.app.registered_groups:
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            functions[f"{group.name} {command.name or name(command.callback)}"] = command.callback
    return "\n".join([HEAD, *(_command(key, functions[key]) for key in sorted(functions))])


def name(function: Any) -> str:  # noqa: ANN401 - typer types callbacks loosely
    """What typer calls a command that was given no name."""
    return str(function.__name__).replace("_", "-")


def _command(command: str, function: Any) -> str:  # noqa: ANN401 - as above
    """One command: usage, what it does, its arguments and options."""
    arguments: list[str] = []
    options: list[str] = []
    usage = ["lsmkv", command]
    hints = get_type_hints(function, include_extras=True)
    for parameter in signature(function).parameters.values():
        hint = hints[parameter.name]
        if get_origin(hint) is not Annotated:
            continue
        kind, info = get_args(hint)[:2]
        if isinstance(info, ArgumentInfo):
            metavar = info.metavar or parameter.name.upper()
            usage.append(metavar)
            arguments.append(f"- `{metavar}`: {_line(info.help)}")
        else:
            options.append(_option(parameter, kind, info))
    usage.insert(2, "[OPTIONS]")
    lines = [f"## `lsmkv {command}`", "", "    " + " ".join(usage), "", _line(function.__doc__), "", *arguments, *options]
    return "\n".join(lines) + "\n"


def _option(parameter: Parameter, kind: Any, info: OptionInfo) -> str:  # noqa: ANN401 - any type may be annotated
    """One option: names, what it takes, what it does, its default."""
    first = [info.default] if isinstance(info.default, str) else []  # where typer keeps the first name of an annotated option
    names = ", ".join([*first, *(info.param_decls or ())] or ["--" + parameter.name.replace("_", "-")])
    if kind is bool:
        return f"- `{names}`: {_line(info.help)}"
    choices = [word for word in get_args(kind) if isinstance(word, str)]  # a Literal
    plain_kind = next((k for k in get_args(kind) if isinstance(k, type) and k is not type(None)), kind)
    if isinstance(plain_kind, type) and issubclass(plain_kind, Enum):
        choices = [str(member.value) for member in plain_kind]
    names_of_kinds = {"int": "INTEGER", "float": "NUMBER", "Path": "PATH"}
    metavar = info.metavar or "|".join(choices) or names_of_kinds.get(getattr(plain_kind, "__name__", ""), "TEXT")
    default = info.show_default if isinstance(info.show_default, str) else getattr(parameter.default, "value", parameter.default)
    suffix = f" Default: {default}." if default is not None and "[default" not in (info.help or "") else ""
    return f"- `{names} {metavar}`: {_line(info.help)}{suffix}"


def _line(text: str | None) -> str:
    """Text as one line."""
    return " ".join((text or "").split())


if __name__ == "__main__":
    page = reference(build_tools())
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)
