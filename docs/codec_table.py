"""The table in docs/codecs.md: ``python docs/codec_table.py --model DIR docs/codecs.md`` measures the codecs and writes it again.

A model reads the demo's handbook; its KV cache, cut into pages of 64 tokens, goes through every codec and back. DIR is the
directory of a converted model (`lsmkv demo` keeps one); without it, the demo's model of random weights, in seconds, which is
printed and not written: its numbers compress as no real model's do.
"""

import argparse
import platform
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from lsmkv.env.clock import SystemClock
from lsmkv_tensor import PageFormat
from lsmkv_tensor.cli.demo_model import converse, load
from lsmkv_tensor.codec import LOSSY, Codec, decode, tensor_codec

PAGE_TOKENS = 64
ROUNDS = 5
BLOCK = re.compile(r"(<!-- codecs -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def cache_pages(directory: Path | None, tokens: int) -> tuple[str, torch.Tensor]:
    """The title of the model, and its cache as float32 pages [n, 2, layers, tokens, heads, head size]."""
    talker = load("smollm2" if directory is not None else "random", directory)
    prompt = converse(talker, None).prompt[:tokens]
    with torch.inference_mode():
        layers = talker.model(torch.tensor([prompt]), use_cache=True).past_key_values.layers
    kv = torch.stack([torch.stack([layer.keys[0], layer.values[0]]) for layer in layers], 1)  # [2, layers, heads, tokens, size]
    whole = kv.shape[3] // PAGE_TOKENS
    kv = kv[:, :, :, : whole * PAGE_TOKENS].transpose(2, 3).unflatten(2, (whole, PAGE_TOKENS))
    return talker.title, kv.permute(2, 0, 1, 3, 4, 5).contiguous()


def measured(codec: Codec, pages: torch.Tensor) -> tuple[float, float, float, float]:
    """Bytes over bytes stored, MB/s of raw bytes in and out (best of several), the error over the size of the numbers (rms)."""
    raws = [np.asarray(page.view(torch.uint8)).tobytes() for page in pages]
    clock = SystemClock()
    encode_s, decode_s = [], []
    out = bytearray(len(raws[0]))
    squares = 0.0
    for _ in range(ROUNDS):
        at = clock.monotonic()
        encoded = [codec.encode([memoryview(raw)]) for raw in raws]
        encode_s.append(clock.monotonic() - at)
        spent = 0.0
        squares = 0.0
        for page, item in zip(pages, encoded, strict=True):
            if item is None:
                continue
            at = clock.monotonic()
            assert decode(item.codec, memoryview(item.payload), [memoryview(out)])
            spent += clock.monotonic() - at
            back = torch.frombuffer(out, dtype=page.dtype).view(page.shape)
            squares += float((back.double() - page.double()).square().sum())
        decode_s.append(spent)
    size = sum(map(len, raws))
    stored = sum(len(raw) if item is None else len(item.payload) for raw, item in zip(raws, encoded, strict=True))
    error = (squares / float(pages.double().square().sum())) ** 0.5
    return size / stored, size / min(encode_s) / 1e6, size / max(min(decode_s), 1e-9) / 1e6, error


def table(directory: Path | None, tokens: int) -> str:
    """The measurement as Markdown."""
    title, kv = cache_pages(directory, tokens)
    names = ["shuffle_zstd", *LOSSY]
    lines = ["| pages of | codec | smaller by | encode | decode | error (rms) |", "|---|---|---|---|---|---|"]
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        fmt = PageFormat(page_tokens=PAGE_TOKENS, shape=tuple(kv.shape[1:]), dtype=dtype)
        pages = kv.to(dtype)
        for name in names:
            ratio, encode, decode_, error = measured(tensor_codec(name, fmt), pages)
            told = f"{error:.2%}" if error else "0"
            lines.append(f"| {fmt.dtype_name} | `{name}` | {ratio:.2f}x | {encode:,.0f} MB/s | {decode_:,.0f} MB/s | {told} |")
    shape = ", ".join(map(str, kv.shape[1:]))
    with_what = f"Python {platform.python_version()}, NumPy {np.__version__}, zstandard {version('zstandard')}"
    told = (
        f"{title}: {len(kv)} pages of [{shape}], its float32 cache rounded to each type. MB/s of page bytes, one thread, best of "
        f"{ROUNDS}, memory to memory. {platform.machine()}, {with_what}, {datetime.now(UTC):%Y-%m-%d}."
    )
    return "\n".join([*lines, "", told]) + "\n"


def main() -> None:
    """Measure; write or print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", type=Path, nargs="?", help="the Markdown page to write the table into")
    parser.add_argument("--model", type=Path, help="directory of the converted model")
    parser.add_argument("--tokens", type=int, default=1024)
    chosen = parser.parse_args()
    told = table(chosen.model, chosen.tokens)
    if chosen.page is None or chosen.model is None:
        sys.stdout.write(told)
        return
    text = chosen.page.read_text()
    chosen.page.write_text(BLOCK.sub(lambda found: found.group(1) + told + found.group(3), text))


if __name__ == "__main__":
    main()
