"""Hugging Face transformers: keep the KV cache of prompts between runs of a model.

::

    store = TensorStore.open(path, page_format_for(model), namespace="SmolLM2-135M-Instruct fp32")
    out = PrefixCache(store, model).generate(input_ids, max_new_tokens=64)

A page is ``[layers, 2, kv_heads, page_tokens, head_dim]``: keys and values as the model's own cache lays them out, so that a
page is written straight from the cache's memory and read straight into a new one's, a span per layer, head, and K or V.

Restored is at most one token less than the prompt: the model must compute the last token itself to have logits to go on from
(a cache that covers the whole prompt is not refused by transformers, and generates something else).

Several prompts at once are one batch: each row restores and saves a prefix of its own. Rows of different lengths are padded on
the left, and the mask says so. All rows go on in the same column: the row with the least known before it decides in which.

Only full-attention dynamic caches. A sliding window forgets what a page would have to contain, a quantised
cache is not what was computed, a static one is not this size: :class:`~lsmkv_tensor.errors.UnsupportedCacheError`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np

from lsmkv_tensor.adapters.prompts import Prompts, read_prompts
from lsmkv_tensor.adapters.versions import SUPPORTED, require_version
from lsmkv_tensor.errors import BusyError, InvalidArgumentError, IOFailedError, UnsupportedCacheError
from lsmkv_tensor.format import PageFormat
from lsmkv_tensor.spans import PageSpans
from lsmkv_tensor.store import TensorStore
from lsmkv_tensor.tensors import new_pages

__all__ = ["PrefixCache", "page_format_for"]

Model: TypeAlias = Any
"""A decoder-only ``PreTrainedModel`` with ``generate``."""

Cache: TypeAlias = Any
"""``transformers.DynamicCache``."""

_log = logging.getLogger(__name__)


def page_format_for(model: Model, page_tokens: int = 64) -> PageFormat:
    """The pages of a model's KV cache: ``[layers, 2, kv_heads, page_tokens, head_dim]`` in the model's dtype.

    Raises UnsupportedCacheError for models whose layers, heads or widths of keys and values are not all alike, and
    InvalidArgumentError for dtypes that pages cannot have.
    """
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    for name in ("qk_rope_head_dim", "v_head_dim", "kv_lora_rank"):
        if getattr(config, name, None) is not None:
            _unsupported(f"{type(config).__name__}.{name}: keys and values are not alike")
    sizes = (config.num_hidden_layers, heads, width)
    if not all(isinstance(size, int) for size in sizes):
        _unsupported(f"{type(config).__name__}: layers, KV heads, head width = {sizes}: must be one number each")
    return PageFormat(page_tokens, (config.num_hidden_layers, 2, heads, page_tokens, width), model.dtype)


class PrefixCache:
    """Restores and saves the KV cache of prompts for one model. ``store`` must have the format :func:`page_format_for` gives.

    Its namespace must name what else decides the cache's bits: checkpoint, adapters, rope scaling, attention kernel.
    Raises InvalidArgumentError (a store of another format), UnsupportedCacheError (a model with other than full-attention
    dynamic layers), ImportError (no transformers, or another version).
    """

    def __init__(self, store: TensorStore, model: Model) -> None:
        wanted = page_format_for(model, store.format.page_tokens)
        if store.format != wanted:
            msg = (
                f"the store's pages are {store.format}, this model's are {wanted}: open it with page_format_for(model) and a "
                "namespace of its own"
            )
            raise InvalidArgumentError(msg)
        self.store = store
        self.model = model
        self._cache_class, self._layer_class = _transformers_classes()
        if getattr(model.config, "is_encoder_decoder", False):
            _unsupported(f"{type(model).__name__} is an encoder-decoder: its cache depends on more than these tokens")
        self._check_layers(self._cache_class(config=model.config))

    def restore(self, input_ids: Any, attention_mask: Any = None) -> Cache:  # noqa: ANN401  # tensors, arrays or lists
        """A new DynamicCache with as much of the prompts as is stored: of one prompt whole pages, at most ``len - 1`` tokens.

        ``input_ids``: whole prompts, [rows, n] or [n]; ``attention_mask``: of the same shape, 0 where a row is padded (on the
        left); None: nowhere. All rows of the cache have the same columns: as many as every row has stored, padding included
        (there the cache is 0; the mask hides it). The result is on the model's device; give it to ``model.generate`` or
        ``model.forward`` together with the *whole* prompts and the mask, or what lies beyond it, as transformers expects.

        Raises InvalidArgumentError (a mask of another shape, or padding elsewhere). I/O: as ``TensorStore.get_batch``, a row.
        """
        return self._restore(read_prompts(input_ids, attention_mask))

    def save(self, input_ids: Any, cache: Cache, attention_mask: Any = None) -> int:  # noqa: ANN401  # as restore
        """Store the whole pages of a cache; how many are newly stored.

        ``cache``: the DynamicCache that computing ``input_ids`` ([rows, n] or [n]) left behind; its column i belongs to the
        tokens of column i. ``attention_mask``: as for :meth:`restore`. Pages are stored as far as both reach: a cache may lack
        the last tokens, or go on beyond them.

        Raises UnsupportedCacheError, InvalidArgumentError, PoisonedError, ClosedError. I/O: as ``TensorStore.put_batch``, a row.
        """
        return self._save(read_prompts(input_ids, attention_mask), cache)

    def generate(self, input_ids: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # what model.generate takes and returns
        """``model.generate`` with the stored prefixes in place of computing them; the whole pages of the answers are saved too.

        ``input_ids``: [rows, n], rows of different lengths padded on the left with an ``attention_mask`` that says so. Takes
        (a ``streamer``, say) and returns what ``model.generate`` does, except arguments that would make the cache depend on
        more than the tokens, or hold several answers a prompt: InvalidArgumentError. If the disk fails when saving, that is
        logged and the answer returned.

        I/O: as :meth:`restore` and :meth:`save`.
        """
        if len(getattr(input_ids, "shape", ())) != 2:  # rows and columns
            msg = f"generate: input_ids = {type(input_ids).__name__}: must be a tensor [rows, columns], as for model.generate"
            raise InvalidArgumentError(msg)
        prompts = read_prompts(input_ids, kwargs.get("attention_mask"))
        ends = _check_arguments(self.model, prompts, kwargs)
        cache = self._restore(prompts)
        out = self.model.generate(input_ids, past_key_values=cache, **kwargs)
        try:
            self._save(prompts.longer(out if hasattr(out, "data_ptr") else out.sequences, ends), cache)
        except (IOFailedError, BusyError) as error:
            _log.warning("the KV cache was not saved: %s", error)
        return out

    # helpers

    def _restore(self, prompts: Prompts) -> Cache:
        """The cache of these prompts, as far as every one of them is stored."""
        cache = self._cache_class(config=self.model.config)
        page_tokens = self.store.format.page_tokens
        stored = [self.store.probe(ids[:-1]) for ids in prompts.rows]
        columns = prompts.reach(stored)
        if columns <= 0:
            return cache
        needed = [-(-max(columns - start, 0) // page_tokens) * page_tokens for start in prompts.starts]
        rows = [self._read(ids[:n]) for ids, n in zip(prompts.rows, needed, strict=True)]
        columns = min(columns, prompts.reach([row.shape[-2] for row in rows]))
        if columns <= 0:
            return cache
        whole = rows[0][:, :, None] if prompts.alone else self._beside(rows, prompts.starts, columns)
        for i, (keys, values) in enumerate(whole[..., :columns, :].to(self.model.device)):
            cache.update(keys[..., :0, :], values[..., :0, :], i)
            cache.layers[i].keys, cache.layers[i].values = keys, values  # update would copy: half of a restore
        return cache

    def _read(self, ids: Any) -> Any:  # noqa: ANN401  # whole pages of tokens; a tensor [layers, 2, heads, tokens, width]
        """Keys and values of these tokens, as many of the first as came."""
        layers, two, heads, page_tokens, width = self.store.format.shape
        shape = (layers, two, heads, max(len(ids), page_tokens), width)
        memory = new_pages(PageFormat(shape[3], shape, self.store.format.dtype), 1)[0]
        pages = len(ids) // page_tokens
        came = self.store.get_into(ids, _spans(list(memory.flatten(0, 1)), pages, page_tokens)) if pages else 0
        return memory[..., : came * page_tokens, :]

    def _beside(self, rows: Sequence[Any], starts: Sequence[int], columns: int) -> Any:  # noqa: ANN401  # a tensor
        """The rows' keys and values side by side: [layers, 2, rows, heads, columns, width], 0 where a row is padded."""
        layers, two, heads, _, width = self.store.format.shape
        whole = rows[0].new_zeros((layers, two, len(rows), heads, columns, width))
        for i, (row, start) in enumerate(zip(rows, starts, strict=True)):
            if start < columns:
                whole[:, :, i, :, start:] = row[..., : columns - start, :]
        return whole

    def _save(self, prompts: Prompts, cache: Cache) -> int:
        """Store the whole pages of every row; how many are newly stored."""
        if not isinstance(cache, self._cache_class):
            _unsupported(f"a {type(cache).__name__}: only DynamicCache can be saved")
        if getattr(cache, "offloading", False):
            _unsupported("an offloaded DynamicCache: its tensors are on their way between devices")
        self._check_layers(cache)
        tensors = [t for layer in cache.layers if layer.is_initialized for t in (layer.keys, layer.values)]
        if not tensors or not tensors[0].numel():
            return 0
        self._check_tensors(tensors, len(prompts.rows))
        page_tokens = self.store.format.page_tokens
        saved = 0
        for i, (ids, start) in enumerate(zip(prompts.rows, prompts.starts, strict=True)):
            pages = max(min(len(ids), tensors[0].shape[-2] - start), 0) // page_tokens
            if pages:
                spans = _spans([_rows(t[i, :, start:]) for t in tensors], pages, page_tokens)
                saved += self.store.put_batch(ids[: pages * page_tokens], spans)
        return saved

    def _check_layers(self, cache: Cache) -> None:
        """Raise UnsupportedCacheError unless all layers are full-attention ones, as many as pages have."""
        layers = self.store.format.shape[0]
        for i, layer in enumerate(cache.layers):
            if type(layer) is not self._layer_class:
                _unsupported(f"layer {i} is a {type(layer).__name__}: only full-attention DynamicLayer can be saved")
        if len(cache.layers) not in (0, layers):
            _unsupported(f"a cache of {len(cache.layers)} layers, the store's pages have {layers}")

    def _check_tensors(self, tensors: Sequence[Any], rows: int) -> None:
        """Raise UnsupportedCacheError unless keys and values of every layer are what pages hold, for so many sequences."""
        layers, two, heads, _, width = self.store.format.shape
        if len(tensors) != layers * two:
            _unsupported(f"{len(tensors) // 2} of {layers} layers hold anything (do layers share their cache?)")
        expected = (rows, heads, tensors[0].shape[-2], width)
        for i, tensor in enumerate(tensors):
            where = f"layer {i // 2} {'values' if i % 2 else 'keys'}"
            if tuple(tensor.shape) != expected:
                _unsupported(f"{where}: shape {list(tensor.shape)}, expected {list(expected)} ({rows} sequences)")
            if tensor.dtype != self.store.format.dtype:
                _unsupported(f"{where}: {tensor.dtype}, the store's pages are {self.store.format.dtype}")


def _spans(tensors: Sequence[Any], pages: int, page_tokens: int) -> PageSpans:
    """The pages in the memory of layer-wise tensors [heads, tokens, width], rows without gaps: a span per tensor and head."""
    width, element = tensors[0].shape[-1], tensors[0].element_size()
    size = page_tokens * width * element
    starts = [t.data_ptr() + h * t.stride(0) * element for t in tensors for h in range(t.shape[0])]
    addresses = np.array(starts, np.uint64)[None, :] + np.arange(pages, dtype=np.uint64)[:, None] * np.uint64(size)
    return PageSpans(addresses, np.full(len(starts), size, np.int64), tensors)


def _rows(tensor: Any) -> Any:  # noqa: ANN401  # a tensor, torch is imported by whoever has a model
    """The tensor [heads, tokens, width] on the CPU with its rows one after the other; itself if it is so already."""
    tensor = tensor.detach().to("cpu")
    return tensor if tensor.stride()[1:] == (tensor.shape[-1], 1) else tensor.contiguous()


def _check_arguments(model: Model, prompts: Prompts, kwargs: dict[str, Any]) -> list[int]:
    """Refuse what would make the cache something else than a function of the tokens of each row; the tokens that end one."""
    for name in kwargs.keys() & _REFUSED:
        _refuse_argument(name, "the cache would not be what the tokens alone give")
    config = kwargs.get("generation_config") or model.generation_config
    wanted = {name: kwargs.get(name, getattr(config, name, None)) for name in _ASKED}
    if wanted["use_cache"] is False:
        _refuse_argument("use_cache=False", "there would be no cache to restore into")
    if wanted["cache_implementation"] not in (None, "dynamic", "dynamic_full"):
        _refuse_argument(f"cache_implementation={wanted['cache_implementation']!r}", "only dynamic caches can be restored")
    if wanted["prompt_lookup_num_tokens"] is not None:
        _refuse_argument("prompt_lookup_num_tokens", "transformers answers differently from a cache that covers the prompt")
    for name in ("num_beams", "num_return_sequences"):
        if (wanted[name] or 1) != 1:
            _refuse_argument(f"{name}={wanted[name]}", "only one answer a prompt")
    mask, pad = kwargs.get("attention_mask"), wanted["pad_token_id"]
    ends: list[int] = np.ravel(() if wanted["eos_token_id"] is None else wanted["eos_token_id"]).tolist()
    if mask is None and pad is not None and pad not in ends and any(pad in ids for ids in prompts.rows):
        _refuse_argument(
            f"a prompt with the padding token {pad}", "pass an attention_mask: ones where it is meant, zeros where it is padding"
        )
    return ends


def _refuse_argument(name: str, why: str) -> NoReturn:
    """Raise InvalidArgumentError for one argument of ``generate``."""
    msg = f"generate: {name} is not supported here: {why}"
    raise InvalidArgumentError(msg)


def _unsupported(what: str) -> NoReturn:
    """Raise UnsupportedCacheError."""
    raise UnsupportedCacheError(what)


def _transformers_classes() -> tuple[Any, Any]:
    """(DynamicCache, DynamicLayer). Imported late: it takes seconds, and this module must load without it."""
    require_version("transformers", *SUPPORTED["transformers"])
    try:
        from transformers.cache_utils import DynamicCache, DynamicLayer  # noqa: PLC0415  # see above
    except ImportError as error:
        msg = f"PrefixCache needs transformers 5 (pip install 'transformers>=5,<6'): {error}"
        raise ImportError(msg) from error
    return DynamicCache, DynamicLayer


_ASKED = (
    "cache_implementation",
    "eos_token_id",
    "num_beams",
    "num_return_sequences",
    "pad_token_id",
    "prompt_lookup_num_tokens",
    "use_cache",
)
"""Settings of ``generate`` that come from its arguments or else from its configuration."""

_REFUSED = frozenset(
    {
        "past_key_values",
        "assistant_model",
        "cache_config",
        "position_ids",
        "inputs_embeds",
        "decoder_input_ids",
        "encoder_outputs",
        "pixel_values",
        "input_features",
    }
)
"""Arguments of ``generate`` that bring a cache of their own, or input other than tokens."""
