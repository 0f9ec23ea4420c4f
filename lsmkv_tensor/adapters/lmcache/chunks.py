"""Chunks of LMCache's in-process engine: what their keys and metadata mean here, and what is needed of LMCache for that.

A chunk's key names model, world size, rank, dtype and tags, and the layer where layers are kept apart; the page's key is the
SHA-256 of that text. The namespace holds rank and model, and what a key does not say but a chunk needs to be read back: its
memory format, shapes and dtypes. So the last, shorter chunk of a prompt lies in a namespace of its length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from lsmkv_tensor.keys.flat import flat_key

__all__ = ["ChunkLayout", "ChunkNames", "PluginParts", "Worker", "chunk_layout", "chunk_name", "plugin_parts"]

Key: TypeAlias = Any
"""LMCache's ``CacheEngineKey``."""
Item: TypeAlias = Any
"""LMCache's ``MemoryObj``."""


class Worker(NamedTuple):
    """Whose chunks they are."""

    model: str
    world_size: int
    worker_id: int

    @classmethod
    def of(cls, key: Key) -> Worker:
        """Whose this one is."""
        return cls(key.model_name, key.world_size, key.worker_id)


class ChunkLayout(NamedTuple):
    """What a chunk's bytes are."""

    fmt: int
    """Number of LMCache's memory format."""
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    positions: bool
    """Whether it has ``cached_positions``: they are kept in a record beside the page."""
    opaque: bool = False
    """Never: a chunk is asked for by its key alone."""


@dataclass(frozen=True, slots=True)
class PluginParts:
    """LMCache's and torch's own things."""

    fmt: Callable[[int], Any]
    """``MemoryFormat`` of that number."""
    shape: Callable[[tuple[int, ...]], Any]
    """``torch.Size``."""
    dtype: Callable[[str], Any]
    """``torch.dtype`` of that name."""
    positions_out: Callable[[Any], bytes]
    """``cached_positions`` as bytes."""
    positions_in: Callable[[bytes], Any]
    """The reverse."""
    hash_function: Callable[[Any, Any], Any]
    """The function that LMCache hashes tokens with under this configuration and metadata."""


def plugin_parts() -> PluginParts:
    """Those of the installed LMCache. ImportError without it."""
    import torch  # noqa: PLC0415  # only with LMCache
    from lmcache.v1.memory_management import MemoryFormat  # noqa: PLC0415  # only with LMCache
    from lmcache.v1.token_database import ChunkedTokenDatabase  # noqa: PLC0415  # only with LMCache

    def positions_in(data: bytes) -> Any:  # noqa: ANN401  # torch's
        """Positions are whole numbers of 64 bits."""
        return torch.frombuffer(bytearray(data), dtype=torch.int64)

    return PluginParts(
        MemoryFormat,
        torch.Size,
        lambda name: getattr(torch, name),
        lambda tensor: tensor.detach().to("cpu", torch.int64).contiguous().numpy().tobytes(),
        positions_in,
        lambda config, metadata: ChunkedTokenDatabase(config, metadata).hash_func,
    )


def chunk_name(key: Key) -> bytes:
    """The 28-byte key of its page."""
    return flat_key(key.to_string())


class ChunkNames:
    """Page keys of LMCache's keys, remembered: making the text takes longer than all else. Any thread may call anything."""

    def __init__(self, most: int = 32_768) -> None:
        """``most``: keys that are remembered, about 500 bytes each."""
        self._most = most
        self._known: dict[tuple[object, ...], bytes] = {}
        self._by_hash: dict[object, tuple[object, object, object, object, object, bytes]] = {}
        self.by_hash = self._by_hash.get
        """Of the key of a whole chunk, by its ``chunk_hash``, that was remembered last: class, model, world size, worker, dtype,
        and its name. None: none is."""

    def one(self, key: Key) -> bytes:
        """As :func:`chunk_name`; of a whole chunk that was named last among those of its hash in few steps."""
        last = self.by_hash(getattr(key, "chunk_hash", None))
        if last is not None and last[0] is key.__class__ and not key.tags:
            _, model, size, worker, dtype, name = last
            if key.model_name == model and key.world_size == size and key.worker_id == worker and key.dtype is dtype:
                return name
        return self.of([key])[0]

    def of(self, keys: Sequence[Key]) -> list[bytes]:
        """As :func:`chunk_name` of each."""
        try:
            if len(keys) == 1 and (name := self._known.get(said := _WHOLE(keys[0]))) is not None:  # others say more
                self._last_of(said, name)
                return [name]
            says = _SAYS.get(keys[0].__class__.__name__) if keys else None
            if says is None:
                return [chunk_name(key) for key in keys]
            what = list(map(says, keys))
            found = list(map(self._known.get, what))
        except (AttributeError, TypeError):  # keys of several classes; tags that cannot be looked up
            return [chunk_name(key) for key in keys]
        return self._new(keys, what, found) if None in found else found  # type: ignore[return-value]  # as asked

    def _new(self, keys: Sequence[Key], what: Sequence[tuple[object, ...]], found: Sequence[bytes | None]) -> list[bytes]:
        """The names of keys of which some are not known; they are from now on."""
        names = [name or chunk_name(key) for name, key in zip(found, keys, strict=True)]
        if len(self._known) + len(names) > self._most:
            self._known.clear()
            self._by_hash.clear()
        kind = type(keys[0])  # who is of another one has not said all that it says
        for said, name in zip(what, names, strict=True):
            if said[0] is kind and not said[TAGS]:
                self._known[said] = name
                if len(said) == WHOLE_SAYS:
                    self._last_of(said, name)
        return names

    def _last_of(self, said: tuple[object, ...], name: bytes) -> None:
        """This was asked for last among keys of its hash."""
        kind, _, model, size, worker, chunk_hash, dtype = said
        self._by_hash[chunk_hash] = kind, model, size, worker, dtype, name


TAGS = 1
"""Where a key's tags are in what it says. They are values of any kind: some are equal and have another text, as 1 and True. A key
with tags is not remembered."""
_WHOLE: Callable[[Key], tuple[object, ...]] = attrgetter(
    "__class__", "tags", "model_name", "world_size", "worker_id", "chunk_hash", "dtype"
)
WHOLE_SAYS = 7
_SAYS: Mapping[str, Callable[[Key], tuple[object, ...]]] = {
    "CacheEngineKey": _WHOLE,
    "LayerCacheEngineKey": attrgetter(
        "__class__", "tags", "model_name", "world_size", "worker_id", "chunk_hash", "dtype", "layer_id"
    ),
}
"""What a key's text is made of, by its class."""


def chunk_layout(item: Item) -> ChunkLayout:
    """What an object's bytes are."""
    meta = item.metadata
    shapes, dtypes = meta.shapes or [meta.shape], meta.dtypes or [meta.dtype]
    return ChunkLayout(
        int(meta.fmt.value),
        tuple(tuple(int(n) for n in shape) for shape in shapes),
        tuple(str(dtype).removeprefix("torch.") for dtype in dtypes),
        meta.cached_positions is not None,
    )


def chunk_fields(worker: Worker, layout: ChunkLayout, revision: str | None) -> dict[str, object]:
    """What gives a page's bytes their meaning."""
    return {
        "engine": "lmcache",
        "model": worker.model,
        "revision": revision,
        "worker": [worker.worker_id, worker.world_size],
        "format": layout.fmt,
        "shapes": [list(shape) for shape in layout.shapes],
        "dtypes": list(layout.dtypes),
        "dtype": layout.dtypes[0],
        "positions": layout.positions,
    }


def read_chunk_fields(fields: Mapping[str, Any], revision: str | None) -> tuple[Worker, ChunkLayout] | None:
    """What a namespace holds, if it is one of these."""
    if fields.get("engine") != "lmcache" or fields.get("revision") != revision or "worker" not in fields:
        return None
    worker_id, world_size = fields["worker"]
    shapes = tuple(tuple(map(int, shape)) for shape in fields["shapes"])
    layout = ChunkLayout(fields["format"], shapes, tuple(fields["dtypes"]), fields["positions"])
    return Worker(fields["model"], world_size, worker_id), layout
