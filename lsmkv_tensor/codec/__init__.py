"""Codecs: how the bytes of a page become the bytes that are stored, and back. No I/O."""

from lsmkv_tensor.codec.base import RAW, Codec
from lsmkv_tensor.codec.names import LOSSLESS, LOSSY, lossless_codec, namespace_codec, tensor_codec
from lsmkv_tensor.codec.reading import decode, is_known

__all__ = ["LOSSLESS", "LOSSY", "RAW", "Codec", "decode", "is_known", "lossless_codec", "namespace_codec", "tensor_codec"]
