"""The conversation: tokens in, tokens out, cut where asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("transformers")

from lsmkv_tensor.cli.demo_model import DOCUMENT, SPECIAL, ByteTokenizer, Talker, converse
from lsmkv_tensor.cli.demo_spec import DemoError

TALKER = Talker(model=None, tokenizer=ByteTokenizer(), stop=-1, title="")
TEXTS = st.lists(st.one_of(st.text(), st.sampled_from([*SPECIAL, "<|im_", "|>"]))).map("".join)


@given(TEXTS)
def test_bytes_are_tokens_and_markers_are_one_token_each(text):
    ids = ByteTokenizer().encode(text)
    assert all(0 <= i < 256 + len(SPECIAL) for i in ids)
    back = b"".join(SPECIAL[i - 256].encode() if i >= 256 else bytes([i]) for i in ids)
    assert back == text.encode(errors="surrogatepass")
    assert sum(i >= 256 for i in ids) == sum(text.count(s) for s in SPECIAL)


def test_the_document_is_long_and_holds_the_answers():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert len(text.split()) > 1000
    assert "four cubic metres of wood" in text
    assert "longest storm in our book lasted six days" in text


def test_the_whole_prompt_has_the_document_between_two_turns():
    talk = converse(TALKER, None)
    text = TALKER.tokenizer.decode(talk.prompt)
    assert DOCUMENT.read_text(encoding="utf-8") in text
    assert text.endswith("assistant\n")
    assert talk.question in text
    second = talk.second_prompt([65, 66])
    assert second[: len(talk.prompt) + 2] == [*talk.prompt, 65, 66]
    assert talk.follow_up in TALKER.tokenizer.decode(second)


@given(st.integers(200, 9000))
def test_a_cut_prompt_has_exactly_that_many_tokens_and_the_question(tokens):
    talk = converse(TALKER, tokens)
    assert len(talk.prompt) == tokens
    assert talk.question in TALKER.tokenizer.decode(talk.prompt)


@pytest.mark.parametrize("tokens", [-5, 0, 20, 1_000_000])
def test_a_cut_that_is_none_is_refused_with_the_limits(tokens):
    with pytest.raises(DemoError, match=rf"--tokens {tokens}: .* can be cut to \d+ up to [\d,]+ tokens"):
        converse(TALKER, tokens)
