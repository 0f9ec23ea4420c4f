"""The demo's two models and its conversation.

``smollm2``: SmolLM2-135M-Instruct in float32 with its own tokenizer (:mod:`.weights` provides the files). ``random``: a small
Llama with random weights from a fixed seed and one token per byte; it says nothing sensible, but its KV cache goes the very
same way, and it needs no download. Both speak ChatML: turns between ``<|im_start|>`` and ``<|im_end|>``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from lsmkv_tensor.cli.demo_spec import DemoError

__all__ = ["Conversation", "Model", "ModelName", "Talker", "converse", "load"]

ModelName: TypeAlias = Literal["smollm2", "random"]

Model: TypeAlias = Any
"""A transformers causal language model (the library is untyped to us)."""

DOCUMENT: Final = Path(__file__).with_name("document.txt")
SYSTEM: Final = "<|im_start|>system\nYou answer questions about the handbook below.\n\n"
ASK: Final = "<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
QUESTION: Final = "How much wood does the stove burn in a season?"
FOLLOW_UP: Final = "How long did the longest storm last?"
SPECIAL: Final = ("<|im_start|>", "<|im_end|>")
SEED: Final = 20_260_101


class Tokenizer(Protocol):
    """Text to token ids and back."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, ChatML markers as one token each."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        ...


class ByteTokenizer:
    """One token per byte of UTF-8, and one for each ChatML marker (256, 257)."""

    def encode(self, text: str) -> list[int]:
        """See :class:`Tokenizer`."""
        ids: list[int] = []
        rest = text
        while rest:
            at, marker = min(((rest.find(s), i) for i, s in enumerate(SPECIAL) if s in rest), default=(len(rest), -1))
            ids += rest[:at].encode()
            if marker < 0:
                break
            ids.append(256 + marker)
            rest = rest[at + len(SPECIAL[marker]) :]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """See :class:`Tokenizer`; what is no text shows as a replacement character."""
        return bytes(i for i in ids if i < 256).decode(errors="replace")


class FileTokenizer:
    """A tokenizer read from ``tokenizer.json``."""

    def __init__(self, file: Path) -> None:
        """Read the file."""
        from tokenizers import Tokenizer as FastTokenizer  # noqa: PLC0415  # only this model needs it

        self._inner = FastTokenizer.from_file(str(file))

    def encode(self, text: str) -> list[int]:
        """See :class:`Tokenizer`."""
        return list(self._inner.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """See :class:`Tokenizer`."""
        return str(self._inner.decode(list(ids)))


@dataclass(frozen=True)
class Talker:
    """A model ready to be asked."""

    model: Model
    tokenizer: Tokenizer
    stop: int
    """Token that ends an answer."""
    title: str


@dataclass(frozen=True)
class Conversation:
    """What is said: the prompt of the first turn, and how the second continues it."""

    prompt: list[int]
    question: str
    follow_up: str
    tokenizer: Tokenizer

    def second_prompt(self, answer: Sequence[int]) -> list[int]:
        """First prompt, the answer it got, and the follow-up question."""
        return [*self.prompt, *answer, *self.tokenizer.encode(ASK.format(question=self.follow_up))]


def load(name: ModelName, directory: Path | None) -> Talker:
    """Load a model. ``directory`` holds the files of ``smollm2``; ``random`` needs none. I/O: reads the weights once."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if name == "random":
        return _random()
    assert directory is not None
    model = AutoModelForCausalLM.from_pretrained(str(directory), dtype=torch.float32, local_files_only=True)
    tokenizer = FileTokenizer(directory / "tokenizer.json")
    return Talker(model.eval(), tokenizer, int(model.config.eos_token_id), "SmolLM2-135M-Instruct, float32")


def _random() -> Talker:
    """A Llama of 11 million random parameters, the same in every process."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=256 + len(SPECIAL),
        hidden_size=320,
        intermediate_size=896,
        num_hidden_layers=8,
        num_attention_heads=10,
        num_key_value_heads=5,
        head_dim=32,
        max_position_embeddings=16_384,
        initializer_range=0.1,  # wide enough that the most likely token is never nearly a tie
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        use_cache=True,
    )
    return Talker(LlamaForCausalLM(config).eval(), ByteTokenizer(), -1, "random-weights Llama, float32")


def converse(talker: Talker, tokens: int | None, page_tokens: int = 1) -> Conversation:
    """The conversation over the handbook; ``tokens`` bounds the first prompt by cutting the handbook's end off.

    Without it so little is cut off that the prompt is whole pages of ``page_tokens`` and one token more: that one is always
    computed, since a cache may not cover the whole prompt, and up to a page's worth would be by chance.

    Raises :class:`DemoError` when the bound leaves no room, or asks for more than there is.
    """
    encode: Callable[[str], list[int]] = talker.tokenizer.encode
    head, body, tail = encode(SYSTEM), encode(DOCUMENT.read_text(encoding="utf-8")), encode(ASK.format(question=QUESTION))
    whole = len(head) + len(tail) + len(body)
    wanted = whole - (whole - 1) % page_tokens if tokens is None else tokens
    room = wanted - len(head) - len(tail)
    if not 1 <= room <= len(body):
        least, most = len(head) + len(tail) + 1, whole
        msg = f"--tokens {tokens}: this model's prompt can be cut to {least:,} up to {most:,} tokens"
        raise DemoError(msg)
    return Conversation([*head, *body[:room], *tail], QUESTION, FOLLOW_UP, talker.tokenizer)
