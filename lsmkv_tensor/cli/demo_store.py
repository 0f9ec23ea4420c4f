"""How the demo's processes hold the store: one namespace that says exactly whose KV cache it is.

Bits of a KV cache depend on more than the model: the shape of the prefill and the number of threads choose other kernels. So
the namespace names them too, and a kept store never answers one run with the bits of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lsmkv_tensor import StoreOptions, TensorStore
from lsmkv_tensor.adapters.transformers import page_format_for
from lsmkv_tensor.cli.demo_model import Model
from lsmkv_tensor.cli.demo_spec import Spec

__all__ = ["KV_FILE", "STORE_DIR", "open_store", "store_path"]

STORE_DIR = "store"
KV_FILE = "kv.pt"


def store_path(spec: Spec) -> Path:
    """Where the store is."""
    return Path(spec.path) / STORE_DIR


def open_store(spec: Spec, model: Model, prompt: Sequence[int]) -> TensorStore:
    """Open (or create) the demo's store for the KV cache of this model and prompt."""
    of_prompt = hashlib.sha256(np.asarray(prompt, np.uint32).tobytes()).hexdigest()[:12]
    return TensorStore.open(
        str(store_path(spec)),
        page_format_for(model, spec.page_tokens),
        namespace=f"demo {spec.model} torch-{torch.__version__} threads-{spec.threads} prompt-{of_prompt}",
        options=StoreOptions(capacity_bytes=spec.capacity_bytes),
    )
