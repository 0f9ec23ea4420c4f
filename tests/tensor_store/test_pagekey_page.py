"""docs/format/pagekey.md tells the truth: its example is decoded, and made again from the prompt."""

import re
from hashlib import sha256
from pathlib import Path

import torch

from lsmkv_tensor import PageFormat
from lsmkv_tensor.keys.chain import KeyChain
from lsmkv_tensor.keys.tokens import token_ids
from lsmkv_tensor.keys.trails import trail

PAGE = Path(__file__).parents[2] / "docs" / "format" / "pagekey.md"
PROMPT = [128000, 9906, 11, 1917]
FORMAT = PageFormat(2, (2, 3), torch.int8)


def example():
    """The lines of the example by their first words; hexadecimal as bytes."""
    block = PAGE.read_text().split("## Example")[1].split("```")[1]
    lines = re.findall(r"^(fields|seed|tokens|d\[\d\]|page \d|trail|     ->) +(.*)$", block, re.MULTILINE)
    assert len(lines) == 9
    return {name.strip(): text if name == "fields" else bytes.fromhex(re.sub("[ |]", "", text)) for name, text in lines}


def test_the_example_follows_from_the_grammar():
    shown = example()
    assert shown["seed"] == sha256(shown["fields"].encode()).digest()
    assert shown["tokens"] == b"".join(t.to_bytes(4, "little") for t in PROMPT)
    assert shown["d[0]"] == sha256(shown["seed"] + shown["tokens"][:8]).digest()
    assert shown["d[1]"] == sha256(shown["d[0]"] + shown["tokens"][8:]).digest()
    for i in range(2):
        assert shown[f"page {i}"] == b"\0\0\0\1" + shown["seed"][:12] + bytes([0, i]) + shown[f"d[{i}]"][:14]
    assert shown["trail"] == b"\0\0\0\0R" + shown["page 1"]
    assert shown["->"] == shown["d[0]"][:14] + shown["d[1]"][:14]


def test_a_store_writes_what_the_example_shows(reopen):
    shown = example()
    store = reopen(FORMAT, namespace="llama-3-8b")
    store.put_batch(PROMPT, torch.zeros(2, 2, 3, dtype=torch.int8))
    namespace = store._namespace
    assert namespace.digest == shown["seed"]
    assert namespace.number == 1
    assert list(namespace.keys()) == [shown["page 0"][4:], shown["page 1"][4:]]
    assert list(namespace.records()) == [(shown["trail"][9:], shown["->"])]
    keys = KeyChain(shown["seed"], 2).keys(token_ids(PROMPT))
    assert trail(keys, 1) == (shown["trail"][9:], shown["->"])
    raw = dict(store._pages._db.scan())
    assert {shown["page 0"], shown["page 1"], shown["trail"]} <= set(raw)
