"""How large pages are, what a store of them takes, and what disk it needs. Pure arithmetic.

Break-even (design of ``plan``): loading a token beats computing it while the disk delivers more than
``bytes per token * prefill tokens per second``. Disk writes per day: ``bytes written a day / capacity of the disk``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from lsmkv_tensor.codec.base import worthwhile
from lsmkv_tensor.codec.quantised import Grid
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.format import DTYPES
from lsmkv_tensor.retention.quota import LARGEST_CHOSEN, divide
from lsmkv_tensor.vlog.layout import BLOCK, frame_header_bytes, padded
from lsmkv_tensor.vlog.space import AHEAD_FROM

__all__ = ["CODEC_RATIOS", "KvShape", "PageSize", "capacity_for", "dwpd", "page_size", "shape_of_config"]

CODEC_RATIOS = {"bfloat16": 1.43, "float16": 1.15, "float32": 1.18}
"""How much smaller ``shuffle_zstd`` made the pages of one real model (docs/codecs.md); another one's differ."""

BATCH_PAGES = 32
"""Pages a put brings, for the share of a frame's header that a page pays."""
INDEX_BYTES_A_PAGE = 256
"""Bytes of the index's share that a page needs: its entry (88, and what a table adds) twice, and room to be written."""
INDEX_SPARE_BYTES = 1 << 20
SECONDS_A_DAY = 86_400

LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num", *HEADS)
HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")


@dataclass(frozen=True, slots=True)
class KvShape:
    """What a model keeps of a token."""

    layers: int
    kv_heads: int
    """Heads of keys and values; 1 for a latent (MLA)."""
    head_dim: int
    """Elements of a head; of the latent and its rotary part together (MLA)."""
    dtype: str
    """One of DTYPES."""
    tensors: int = 2
    """2: keys and values; 1: one latent for both (MLA)."""

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values."""
        return self.tensors * self.layers * self.kv_heads * self.head_dim * DTYPES[self.dtype]


@dataclass(frozen=True, slots=True)
class PageSize:
    """One page, by the bytes it is counted in."""

    page_bytes: int
    """As the engine has it."""
    stored_bytes: int
    """As its codec writes it."""
    disk_bytes: int
    """In a segment: padding to blocks, and its share of the frame's header."""


def shape_of_config(
    config: Mapping[str, Any],
    *,
    layers: int | None = None,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    dtype: str | None = None,
) -> KvShape:
    """What a model with this ``config.json`` of transformers keeps of a token; what is given beside it goes first.

    Models with a text part inside (``text_config``) are known, and those with a latent (``kv_lora_rank``, MLA). All layers are
    counted whole, those with a sliding window too. InvalidArgumentError names the field that is missing or wrong, and the
    option that stands in for it.
    """
    inner = config.get("text_config")
    if isinstance(inner, Mapping):
        config = {**config, **{name: value for name, value in inner.items() if value is not None}}
    given = dtype or config.get("dtype") or config.get("torch_dtype")
    if given is None:
        _refuse("torch_dtype is not there: give --dtype")
    name = str(given).removeprefix("torch.")
    if name not in DTYPES:
        _refuse(f"dtype = {given!r}: must be one of {', '.join(DTYPES)} (--dtype)")
    count = layers if layers is not None else _number(config, LAYERS, "--layers")
    if "kv_lora_rank" in config and config["kv_lora_rank"] is not None and kv_heads is None and head_dim is None:
        latent = _number(config, ("kv_lora_rank",), "--head-dim") + _number(config, ("qk_rope_head_dim",), "--head-dim")
        return _checked(KvShape(count, 1, latent, name, tensors=1))
    heads = kv_heads if kv_heads is not None else _number(config, KV_HEADS, "--kv-heads")
    if head_dim is None and config.get("head_dim") is None:
        hidden, over = _number(config, HIDDEN, "--head-dim"), _number(config, HEADS, "--head-dim")
        head_dim = hidden // over
    size = head_dim if head_dim is not None else _number(config, ("head_dim",), "--head-dim")
    return _checked(KvShape(count, heads, size, name))


def page_size(shape: KvShape, page_tokens: int, codec: str = "raw") -> PageSize:
    """The size of a page of so many tokens. ``shuffle_zstd`` is an estimate (CODEC_RATIOS), the other codecs are exact.

    InvalidArgumentError for a codec that is none, or does not take the type.
    """
    raw = shape.token_bytes * page_tokens
    stored = raw
    if codec == "shuffle_zstd":
        stored = int(raw / CODEC_RATIOS.get(shape.dtype, 1.0))
    elif codec in ("int8", "fp8"):
        if shape.dtype not in CODEC_RATIOS:
            _refuse(f"--codec {codec}: takes {', '.join(CODEC_RATIOS)}, not {shape.dtype}")
        stored = Grid(shape.tensors * shape.layers, page_tokens, shape.kv_heads * shape.head_dim).payload_bytes
    elif codec != "raw":
        _refuse(f"--codec {codec}: must be raw, shuffle_zstd, int8 or fp8")
    if not worthwhile(stored, raw):
        stored = raw
    return PageSize(raw, stored, padded(stored) + frame_header_bytes(BATCH_PAGES) // BATCH_PAGES)


def capacity_for(pages: int, size: PageSize) -> int:
    """The smallest ``StoreOptions.capacity_bytes`` that holds so many pages without evicting one, with default segments.

    InvalidArgumentError for a page that is larger than any segment.
    """
    if _in_segment(LARGEST_CHOSEN, size) < 1:
        _refuse(f"a page of {size.stored_bytes:,} bytes is larger than a segment of {LARGEST_CHOSEN:,}: fewer --page-tokens")
    low, high = 1, 1 << 24
    while not _holds(high, pages, size):
        low, high = high, high * 2
    while high - low > max(high >> 12, 1):
        middle = (low + high) // 2
        low, high = (low, middle) if _holds(middle, pages, size) else (middle, high)
    return high


def dwpd(written_bytes_per_s: float, disk_bytes: int) -> float:
    """Disk writes per day: how often a day the whole disk is written."""
    return written_bytes_per_s * SECONDS_A_DAY / disk_bytes


def _holds(capacity_bytes: int, pages: int, size: PageSize) -> bool:
    """Whether a store of this capacity holds so many pages: segments are spare, and at the end of each a page may not fit."""
    try:
        quota = divide(capacity_bytes, None, None)
    except InvalidArgumentError:
        return False
    index = INDEX_BYTES_A_PAGE * pages + INDEX_SPARE_BYTES
    spare = 2 if quota.segments >= AHEAD_FROM else 1
    return _in_segment(quota.segment_bytes, size) * (quota.segments - spare) >= pages and index <= quota.index_bytes


def _in_segment(segment_bytes: int, size: PageSize) -> int:
    """Pages that a segment takes."""
    return (segment_bytes - 3 * BLOCK - frame_header_bytes(BATCH_PAGES)) // size.disk_bytes


def _number(config: Mapping[str, Any], names: tuple[str, ...], option: str) -> int:
    """The first of these fields; InvalidArgumentError if none is there, or it is no count."""
    name = next((name for name in names if config.get(name) is not None), None)
    if name is None:
        _refuse(f"{' or '.join(names)} is not there: give {option}")
    value = config[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        _refuse(f"{name} = {value!r}: must be an integer of at least 1, or give {option}")
    return value


def _checked(shape: KvShape) -> KvShape:
    """The shape, if its options are counts."""
    for option, value in (("--layers", shape.layers), ("--kv-heads", shape.kv_heads), ("--head-dim", shape.head_dim)):
        if value < 1:
            _refuse(f"{option} {value}: must be at least 1")
    return shape


def _refuse(what: str) -> NoReturn:
    """Raise InvalidArgumentError."""
    raise InvalidArgumentError(what)
