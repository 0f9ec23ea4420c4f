"""``lsmkv demo``: a language model answers a question about a long document twice, the second time from disk.

A first process computes the prompt's KV cache and stores it; a second one, started afresh, restores it, and proves that
nothing else changed. This module owns the demo's directory and the order of events; see :mod:`.demo_first` and
:mod:`.demo_second` for the two processes and :mod:`.demo_report` for what is checked.

The directory may be interrupted at any moment and used again. It holds a marker (without which the demo refuses to touch a
directory that is not empty), the store, the ``torch.save`` file beside it, and two locks: ours, and the one each child holds,
so that a new demo waits out the last breath of a killed one's child.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from lsmkv.env.clock import SystemClock
from lsmkv.env.posix import PosixFileSystem
from lsmkv.errors import InvalidArgumentError, LockedError, LsmError
from lsmkv.observe.files import load_manifest
from lsmkv.observe.picture import text_picture
from lsmkv.observe.readonly import ReadOnly
from lsmkv.observe.tree import render_tree
from lsmkv_tensor.cli.demo_report import Report, evaluate
from lsmkv_tensor.cli.demo_run import run_child
from lsmkv_tensor.cli.demo_spec import CHILD_LOCK, DemoError, Spec
from lsmkv_tensor.cli.demo_view import show
from lsmkv_tensor.cli.sizes import bytes_of
from lsmkv_tensor.runtime.process import cpu_count, environment

__all__ = ["demo"]

MARKER: Final = "lsmkv-demo.json"
OURS: Final = ("store", "kv.pt", "prepare.log", "first.log", "second.log")
"""Everything but the marker and the locks; removed when a demo starts."""
PAGE_TOKENS: Final = 16
ANSWER_TOKENS: Final = 24
RANDOM_TOKENS: Final = 1024
"""Prompt of the random model, whose tokens are bytes: the whole handbook would take it long to no purpose."""
REPEATS: Final = 5
MOST_THREADS: Final = 4
"""Threads unless told otherwise, at most: a demo need not take a whole machine, and runs on different machines compare."""
PATIENCE_S: Final = 20.0


class ModelChoice(StrEnum):
    """Which model talks."""

    smollm2 = "smollm2"
    random = "random"


def demo(
    model: Annotated[
        ModelChoice, typer.Option(help="smollm2: a real 135M model (93 MB are downloaded once); random: no download, seconds.")
    ] = ModelChoice.smollm2,
    path: Annotated[Path | None, typer.Option(help="Directory for the store.  [default: .demo, or in the cache]")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all numbers and checks here ('-': standard output).")
    ] = None,
    tokens: Annotated[int | None, typer.Option(help="Length of the prompt; cuts the document.  [default: all of it]")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the store of the last demo instead of a new one.")] = False,
    capacity: Annotated[str, typer.Option(metavar="SIZE", help="Most the store may take on disk, such as 512MiB.")] = "1GiB",
    threads: Annotated[int | None, typer.Option(help="CPU threads of the model.  [default: all, at most 4]")] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take the model from this wheel or GGUF file; no download.")
    ] = None,
) -> None:
    """A real model starts faster from its stored KV cache: compute, store, restart, restore, compare, measure."""
    to_stdout = json_file == Path("-")
    console = Console(stderr=to_stdout)
    try:
        spec = _spec(model, path, tokens, capacity, threads, weights)
        with _directory(Path(spec.path), keep=keep):
            report = _play(spec, console)
            text = json.dumps(report.to_dict(), indent=1)
            if json_file is not None and not to_stdout:
                _write(json_file, text)
            show(report, console)
            _tree(Path(spec.path) / "store", console)
            if to_stdout:
                typer.echo(text)
    except KeyboardInterrupt:
        console.print("interrupted: nothing is left half done; run the demo again whenever you like", highlight=False)
        raise typer.Exit(130) from None
    except DemoError as error:
        typer.echo(f"lsmkv demo: {error}", err=True)
        raise typer.Exit(error.code) from None
    except (OSError, LsmError) as error:
        typer.echo(f"lsmkv demo: {error}", err=True)
        raise typer.Exit(2) from None
    if not report.ok:
        raise typer.Exit(1)


def _spec(
    model: ModelChoice, path: Path | None, tokens: int | None, capacity: str, threads: int | None, weights: Path | None
) -> Spec:
    """Check the options and fill in the defaults."""
    wanted = ["torch", "transformers", "safetensors", "tokenizers"] + (["gguf", "accelerate"] if model == "smollm2" else [])
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        msg = f"{', '.join(missing)} not installed: pip install 'lsmkv[demo]'"
        raise DemoError(msg)
    if threads is not None and not 1 <= threads <= 1024:
        msg = f"--threads {threads}: from 1 to 1024"
        raise DemoError(msg)
    if weights is not None and not weights.is_file():
        msg = f"--weights {weights}: no such file"
        raise DemoError(msg)
    cache = _cache()
    home = path if path is not None else (Path(".demo") if _in_checkout() else cache / "demo")
    return Spec(
        task="prepare",
        model=model.value,
        model_dir=None,
        cache=str(cache.absolute()),
        weights=str(weights.absolute()) if weights else None,
        path=str(home.absolute()),
        tokens=tokens if tokens is not None or model == "smollm2" else RANDOM_TOKENS,
        answer_tokens=ANSWER_TOKENS,
        page_tokens=PAGE_TOKENS,
        capacity_bytes=_size(capacity),
        threads=threads or min(cpu_count(), MOST_THREADS),
        repeats=REPEATS,
    )


def _size(text: str) -> int:
    """Bytes from a number with a unit."""
    try:
        return bytes_of(text, "--capacity")
    except InvalidArgumentError as error:
        raise DemoError(str(error)) from error


def _in_checkout() -> bool:
    """Whether we stand in a checkout of this project."""
    with suppress(OSError):
        return 'name = "lsmkv"' in Path("pyproject.toml").read_text(encoding="utf-8")
    return False


def _cache() -> Path:
    """Where prepared models are kept: with a checkout, else with the user's caches."""
    if _in_checkout():
        return Path(".cache/lsmkv-demo")
    home = environment().get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "lsmkv"


@contextmanager
def _directory(path: Path, *, keep: bool) -> Iterator[None]:
    """Own the demo's directory: ours or empty, locked, without leftovers (``keep``: with the last demo's store)."""
    if path.exists() and not path.is_dir():
        msg = f"{path} is not a directory"
        raise DemoError(msg)
    path.mkdir(parents=True, exist_ok=True)
    if not (path / MARKER).exists():
        if any(path.iterdir()):
            msg = f"{path} is not empty and not a demo's directory: choose another --path"
            raise DemoError(msg)
        _write(path / MARKER, json.dumps({"what": "the directory of `lsmkv demo`: it may be removed"}))
    fs = PosixFileSystem()
    try:
        lock = fs.lock(str(path / "demo.lock"))
    except LockedError as error:
        msg = f"another demo is running in {path}: choose another --path or wait"
        raise DemoError(msg) from error
    try:
        _outlive_children(path)
        for name in OURS:
            if keep and name == "store":
                continue
            if (path / name).is_dir():
                shutil.rmtree(path / name)
            else:
                (path / name).unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def _outlive_children(path: Path) -> None:
    """Wait until no child of a killed demo is left (it ends by itself as soon as it notices)."""
    clock = SystemClock()
    deadline = clock.monotonic() + PATIENCE_S
    while True:
        try:
            PosixFileSystem().lock(str(path / CHILD_LOCK)).release()
        except LockedError as error:
            if clock.monotonic() > deadline:
                msg = f"a process of an earlier demo still works in {path} ({error}): end it, or choose another --path"
                raise DemoError(msg) from error
            clock.sleep(0.05)
        else:
            return


def _play(spec: Spec, console: Console) -> Report:
    """All processes in order, and what they found."""
    if spec.model == "smollm2":
        prepared = run_child(spec, console, "The model")
        spec = replace(spec, model_dir=prepared["model_dir"])
    first = run_child(replace(spec, task="first"), console, "First process: compute and store")
    second = run_child(
        replace(spec, task="second", recorded=first), console, "Second process, started afresh: restore and compare"
    )
    return evaluate(spec.model, first, second)


def _tree(store: Path, console: Console) -> None:
    """Show the index of the store that was left behind."""
    state = load_manifest(ReadOnly(PosixFileSystem()), str(store / "index"))
    console.print("\n[bold]The tree of the store's index[/]")
    if console.is_terminal:
        console.print(render_tree(state.shape, state.policy))
    else:
        console.print(text_picture(state.shape, state.policy), highlight=False, markup=False, soft_wrap=True)
    console.print(f"Look around: lsmkv tree {store}; lsmkv stats {store}", highlight=False, markup=False, soft_wrap=True)


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)
