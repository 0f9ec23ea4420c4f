"""The demo's report on the screen: the table, the conversation, the checks, and what the numbers are worth elsewhere."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lsmkv_tensor.cli.demo_report import Report

__all__ = ["human_bytes", "show"]

GPUS: Final = (
    ("a 32B model on two H100", "3-4 GB/s"),
    ("a model that fills an A30", "0.9 GB/s"),
    ("a small model on a CPU", "0.01-0.02 GB/s"),
)
"""Break-even rates elsewhere: KV bytes per token times prefill tokens per second."""


def human_bytes(count: float) -> str:
    """A size for people."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:.0f} B"


def show(report: Report, console: Console) -> None:
    """Print everything but the tree."""
    numbers = report.numbers
    console.print()
    console.print(_ttft(numbers))
    console.print(_beside(numbers))
    for turn in numbers["turns"]:
        console.print(f"[bold]Q[/] {escape(turn['question'])}", highlight=False)
        console.print(f"[bold]A[/] {_printable(turn['answer'])}", highlight=False)
    turn = numbers["second_turn"]
    console.print(
        f"[dim]The second question continues the first: {turn['restored_tokens']:,} of its {turn['prompt_tokens']:,} tokens came"
        f" from the store (cold), first token after {_ms(turn['ttft_s'])} instead of {_ms(turn['computed_s'])}.[/]",
        highlight=False,
    )
    console.print()
    for check in report.checks:
        mark = "[green]ok    [/]" if check.ok else "[bold red]FAILED[/]"
        console.print(f"{mark} {escape(check.name)}: {escape(check.told)}", highlight=False)
    console.print()
    _honest(numbers, console)


def _ms(seconds: float) -> str:
    """A duration for people."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.0f} ms"


def _printable(text: str) -> str:
    """An answer in one line, without control characters (the random model says anything)."""
    return escape("".join(c if c.isprintable() else " " for c in text))


def _device(count: int | None) -> str:
    """Bytes from the device, where known."""
    return "not told by this system" if count is None else human_bytes(count)


def _ttft(numbers: dict[str, Any]) -> Table:
    """Computed against restored."""
    tokens, cold, warm = numbers["tokens"], numbers["cold"], numbers["warm"]
    table = Table(
        title=f"{numbers['title']}: {tokens['prompt']:,} tokens of prompt, {numbers['threads']} threads",
        caption="TTFT: prompt tokens to first answer token, medians; loading the model and imports excluded",
    )
    table.add_column("")
    for name in ("computed", "restored, cold", "restored, warm"):
        table.add_column(name, justify="right")
    prompt, from_disk, rest = f"{tokens['prompt']:,}", f"{tokens['restored']:,}", f"{tokens['computed']:,}"
    table.add_row("tokens computed", prompt, rest, rest)
    table.add_row("tokens restored", "0", from_disk, from_disk)
    table.add_row("time to first token", _ms(numbers["ttft_computed_s"]), _ms(cold["ttft_s"]), _ms(warm["ttft_s"]))
    table.add_row("  of which restoring", "", _ms(cold["restore_s"]), _ms(warm["restore_s"]))
    table.add_row("speed-up", "1.0x", f"[bold]{cold['speed_up']:.1f}x[/]", f"[bold]{warm['speed_up']:.1f}x[/]")
    read = human_bytes(numbers["kv_bytes"])
    table.add_row("bytes read", "0 B", read, read)
    table.add_row("  from the device", "", _device(cold["device_bytes"]), _device(warm["device_bytes"]))
    return table


def _beside(numbers: dict[str, Any]) -> Table:
    """The store beside one file."""
    cold, warm, save = numbers["cold"], numbers["warm"], numbers["save"]
    table = Table(title=f"the same {human_bytes(numbers['kv_bytes'])} of keys and values", caption="all writes synced")
    table.add_column("")
    table.add_column("lsmkv", justify="right")
    table.add_column("torch.save, torch.load", justify="right")
    table.add_row(
        "save",
        _ms(save["synced_s"]) + (f", {save['mb_s']:,.0f} MB/s" if save["mb_s"] else " (kept: not written again)"),
        f"{_ms(save['torch_save_s'])}, {save['torch_save_mb_s']:,.0f} MB/s",
    )
    for name, run in (("cold", cold), ("warm", warm)):
        ours = f"{_ms(numbers['kv_bytes'] / 1e6 / run['read_mb_s'])}, {run['read_mb_s']:,.0f} MB/s"
        theirs = f"{_ms(run['torch_load_s'])}, {run['torch_load_mb_s']:,.0f} MB/s"
        table.add_row(f"read, {name}", ours, theirs)
    table.add_row("size on disk", human_bytes(numbers["disk_bytes"]), human_bytes(numbers["torch_file_bytes"]))
    table.add_row("open", _ms(numbers["open_s"]), "")
    return table


def _honest(numbers: dict[str, Any], console: Console) -> None:
    """What this shows and what it does not."""
    cold = numbers["cold"]["read_mb_s"]
    console.print(
        f"[bold]What this is worth.[/] Loading beats computing above KV bytes per token x prefill tokens per second: here"
        f" {numbers['kv_bytes_per_token']:,.0f} B x {numbers['prefill_tokens_per_s']:,.0f}/s ="
        f" [bold]{numbers['break_even_mb_s']:,.1f} MB/s[/], and the store delivered {cold:,.0f} MB/s cold."
        " On a CPU any store wins, torch.save included. On GPUs the bar is higher: "
        + "; ".join(f"{rate} for {what}" for what, rate in GPUS[:2])
        + ".",
        highlight=False,
    )
