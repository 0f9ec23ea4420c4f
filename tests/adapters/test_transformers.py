"""A model answers the same from a restored cache as from one it computed; caches that pages cannot hold are refused.

The model is a random Llama of two layers: what matters is whose bytes come back, not what it says.
"""

import copy
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lsmkv_tensor import PageFormat, StoreOptions, TensorStore, UnsupportedCacheError
from lsmkv_tensor.adapters.transformers import PrefixCache, page_format_for
from lsmkv_tensor.errors import BusyError, InvalidArgumentError

transformers = pytest.importorskip("transformers")

PROMPT = torch.arange(5, 46)[None] % 37 + 1  # 41 tokens: 5 pages of 8, and one token to go on from


def make_model(**changes):
    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}
    config = transformers.LlamaConfig(**(sizes | heads | changes), bos_token_id=1, eos_token_id=None, pad_token_id=0)
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture
def prefix_cache(tmp_path, model):
    options = StoreOptions(capacity_bytes=64 << 20, segment_bytes=1 << 20)
    with TensorStore.open(str(tmp_path), page_format_for(model, 8), namespace="tiny", options=options) as store:
        yield PrefixCache(store, model)


def compute(model, ids):
    cache = transformers.DynamicCache(config=model.config)
    with torch.inference_mode():
        out = model(ids, past_key_values=cache)
    return cache, out.logits


def parts(cache, tokens):
    return [part[..., :tokens, :].contiguous() for layer in cache.layers for part in (layer.keys, layer.values)]


def same_cache(a, b, tokens):
    return all(torch.equal(x, y) for x, y in zip(parts(a, tokens), parts(b, tokens), strict=True))


def test_pages_have_the_shape_of_the_models_cache(model):
    assert page_format_for(model, 8) == PageFormat(8, (2, 2, 2, 8, 8), torch.float32)
    assert page_format_for(make_model(head_dim=16, num_key_value_heads=1), 4).shape == (2, 2, 1, 4, 16)


def test_a_restored_cache_is_the_saved_one(prefix_cache, model):
    cache, _ = compute(model, PROMPT)
    assert prefix_cache.save(PROMPT, cache) == 5
    restored = prefix_cache.restore(PROMPT)
    assert restored.get_seq_length() == 40
    assert same_cache(restored, cache, 40)


def test_the_model_goes_on_from_a_restored_cache_as_from_its_own(prefix_cache, model):
    cache, logits = compute(model, PROMPT)
    prefix_cache.save(PROMPT, cache)
    own, _ = compute(model, PROMPT[:, :40])
    with torch.inference_mode():
        from_own = model(PROMPT[:, 40:], past_key_values=own).logits
        from_restored = model(PROMPT[:, 40:], past_key_values=prefix_cache.restore(PROMPT)).logits
    assert torch.equal(from_restored, from_own)
    torch.testing.assert_close(from_restored[0, -1], logits[0, -1])


def test_at_least_one_token_is_left_to_compute(prefix_cache, model):
    cache, _ = compute(model, PROMPT)
    prefix_cache.save(PROMPT, cache)
    assert prefix_cache.restore(PROMPT[:, :40]).get_seq_length() == 32
    assert prefix_cache.restore(PROMPT[:, :8]).get_seq_length() == 0
    assert prefix_cache.restore(PROMPT[:, :1]).get_seq_length() == 0


def test_a_prompt_that_branches_off_gets_what_it_shares(prefix_cache, model):
    cache, _ = compute(model, PROMPT)
    prefix_cache.save(PROMPT, cache)
    other = PROMPT.clone()
    other[0, 20] = 60
    restored = prefix_cache.restore(other)
    assert restored.get_seq_length() == 16
    assert same_cache(restored, cache, 16)


def test_generating_twice_gives_the_same_and_computes_less(prefix_cache, model, monkeypatch):
    expected = model.generate(PROMPT, max_new_tokens=20, do_sample=False)
    seen = []
    forward = model.forward

    @functools.wraps(forward)
    def counting(*args, **kwargs):
        seen.append(kwargs["input_ids"].shape[1])
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", counting)
    assert torch.equal(prefix_cache.generate(PROMPT, max_new_tokens=20, do_sample=False), expected)
    assert seen[0] == 41
    assert prefix_cache.store.probe(expected[0]) == 56  # prompt and answer: 61 tokens, 60 of them computed
    seen.clear()
    assert torch.equal(prefix_cache.generate(PROMPT, max_new_tokens=20, do_sample=False), expected)
    assert seen[0] == 1
    seen.clear()
    longer = torch.cat([expected, PROMPT[:, :3]], dim=1)
    assert torch.equal(prefix_cache.generate(longer, max_new_tokens=4, do_sample=False)[:, :64], longer)
    assert seen[0] == 8


def test_generate_returns_what_the_model_returns(prefix_cache):
    out = prefix_cache.generate(
        PROMPT, attention_mask=torch.ones_like(PROMPT), max_new_tokens=3, do_sample=False, return_dict_in_generate=True
    )
    assert out.sequences.shape == (1, 44)
    assert out.past_key_values.get_seq_length() == 43


def test_a_cropped_cache_is_saved_as_far_as_it_reaches(prefix_cache, model):
    """Its tensors are views with gaps between the heads."""
    cache, _ = compute(model, PROMPT)
    whole = parts(cache, 32)
    cache.crop(-9)
    assert prefix_cache.save(PROMPT, cache) == 4
    restored = prefix_cache.restore(PROMPT)
    assert all(torch.equal(a, b) for a, b in zip(parts(restored, 32), whole, strict=True))


def test_a_cache_in_another_memory_order_is_saved(prefix_cache, model):
    cache, _ = compute(model, PROMPT)
    for layer in cache.layers:
        layer.keys = layer.keys.transpose(1, 2).contiguous().transpose(1, 2)
    prefix_cache.save(PROMPT, cache)
    assert same_cache(prefix_cache.restore(PROMPT), cache, 40)


def test_an_empty_cache_saves_nothing(prefix_cache, model):
    assert prefix_cache.save(PROMPT, transformers.DynamicCache(config=model.config)) == 0
    assert prefix_cache.save(PROMPT, transformers.DynamicCache()) == 0
    cache, _ = compute(model, PROMPT[:, :7])
    assert prefix_cache.save(PROMPT, cache) == 0


@pytest.mark.parametrize(
    "form", [lambda ids: ids[0], lambda ids: ids[0].tolist(), lambda ids: ids.numpy(), lambda ids: ids.int()]
)
def test_ids_may_come_in_any_form(prefix_cache, model, form):
    cache, _ = compute(model, PROMPT)
    assert prefix_cache.save(form(PROMPT), cache) == 5
    assert prefix_cache.restore(form(PROMPT)).get_seq_length() == 40


def test_bfloat16_comes_back_bit_for_bit(tmp_path):
    model = make_model().to(torch.bfloat16)
    with TensorStore.open(str(tmp_path), page_format_for(model, 8), namespace="tiny") as store:
        cache, _ = compute(model, PROMPT)
        adapter = PrefixCache(store, model)
        adapter.save(PROMPT, cache)
        assert same_cache(adapter.restore(PROMPT), cache, 40)


# what pages cannot hold


def other_caches(model):
    config = model.config
    yield "static", transformers.StaticCache(config=config, max_cache_len=64), "StaticCache"
    sliding = transformers.DynamicCache()
    sliding.layers = [transformers.cache_utils.DynamicSlidingWindowLayer(16) for _ in range(2)]
    yield "sliding", sliding, "layer 0 is a DynamicSlidingWindowLayer"
    yield "legacy", (), "tuple"
    yield "nothing", None, "NoneType"


@pytest.mark.parametrize("kind", ["static", "sliding", "legacy", "nothing"])
def test_other_caches_are_refused(prefix_cache, model, kind):
    cache, told = next((cache, told) for name, cache, told in other_caches(model) if name == kind)
    with pytest.raises(UnsupportedCacheError, match=told):
        prefix_cache.save(PROMPT, cache)


def test_quantised_layers_are_refused(prefix_cache, model):
    """A quantised layer is a DynamicLayer by inheritance; what it holds in keys is only the part not yet quantised."""
    cache, _ = compute(model, PROMPT)

    class Fake(transformers.cache_utils.QuantizedLayer):
        def __init__(self):
            pass

        def _quantize(self, *args):
            raise NotImplementedError

        def _dequantize(self, *args):
            raise NotImplementedError

    cache.layers[1] = Fake()
    with pytest.raises(UnsupportedCacheError, match="layer 1 is a Fake"):
        prefix_cache.save(PROMPT, cache)


def test_a_cache_of_other_sequences_than_the_prompts_is_refused(prefix_cache, model):
    cache, _ = compute(model, PROMPT.repeat(2, 1))
    with pytest.raises(UnsupportedCacheError, match=r"layer 0 keys: shape \[2, "):
        prefix_cache.save(PROMPT, cache)


def test_a_cache_of_another_dtype_is_refused(prefix_cache, model):
    cache, _ = compute(model, PROMPT)
    cache.layers[1].values = cache.layers[1].values.half()
    with pytest.raises(UnsupportedCacheError, match=r"layer 1 values: torch.float16"):
        prefix_cache.save(PROMPT, cache)


def test_a_cache_with_an_empty_layer_is_refused(prefix_cache, model):
    cache, _ = compute(model, PROMPT)
    cache.layers[1] = transformers.cache_utils.DynamicLayer()
    with pytest.raises(UnsupportedCacheError, match="1 of 2 layers"):
        prefix_cache.save(PROMPT, cache)


def test_a_model_with_a_sliding_window_is_refused(tmp_path):
    config = transformers.MistralConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=16,
    )
    model = transformers.MistralForCausalLM(config)
    with (
        TensorStore.open(str(tmp_path), page_format_for(model, 8), namespace="tiny") as store,
        pytest.raises(UnsupportedCacheError, match="layer 0 is a DynamicSlidingWindowLayer"),
    ):
        PrefixCache(store, model)


def test_keys_and_values_of_different_widths_are_refused(model):
    config = transformers.DeepseekV3Config(num_hidden_layers=2)
    with pytest.raises(UnsupportedCacheError, match="qk_rope_head_dim"):
        page_format_for(type("Model", (), {"config": config, "dtype": torch.float32})())


def test_a_store_of_another_format_is_refused(tmp_path, model):
    fmt = PageFormat(8, (2, 2, 2, 8, 8), torch.float16)
    with (
        TensorStore.open(str(tmp_path), fmt, namespace="tiny") as store,
        pytest.raises(InvalidArgumentError, match=r"float16.*float32.*page_format_for\(model\).*namespace of its own"),
    ):
        PrefixCache(store, model)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_beams": 2},
        {"num_return_sequences": 2, "do_sample": True},
        {"use_cache": False},
        {"attention_mask": torch.tensor([[1] * 40 + [0]])},
        {"past_key_values": None},
        {"cache_implementation": "static"},
        {"prompt_lookup_num_tokens": 3},
        {"assistant_model": object()},
        {"inputs_embeds": torch.zeros(1, 41, 32)},
        {"position_ids": torch.arange(41)[None]},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_arguments_that_change_what_a_cache_means_are_refused(prefix_cache, arguments):
    with pytest.raises(InvalidArgumentError, match=next(iter(arguments))):
        prefix_cache.generate(PROMPT, max_new_tokens=2, **arguments)
    assert prefix_cache.store.probe(PROMPT[0]) == 0


@pytest.mark.parametrize("ids", [PROMPT.tolist(), PROMPT[0], "a text", None])
def test_what_the_model_would_not_take_is_refused_by_name(prefix_cache, ids):
    """A list ended deep in transformers: 'list' object has no attribute 'shape'."""
    with pytest.raises(InvalidArgumentError, match=r"generate: input_ids .* a tensor \[rows, columns\]"):
        prefix_cache.generate(ids, max_new_tokens=2)


@pytest.mark.parametrize("setting", [{"use_cache": False}, {"cache_implementation": "static"}, {"num_beams": 2}])
def test_settings_of_a_generation_config_count_like_arguments(prefix_cache, model, setting):
    config = copy.deepcopy(model.generation_config)
    for name, value in setting.items():
        setattr(config, name, value)
    with pytest.raises(InvalidArgumentError, match=next(iter(setting))):
        prefix_cache.generate(torch.arange(20)[None], generation_config=config, max_new_tokens=2)


def test_a_prompt_with_the_padding_token_is_refused_until_the_mask_says_it_is_meant(prefix_cache):
    """transformers would quietly mask those tokens: the same ids, another cache."""
    prompt = PROMPT.clone()
    prompt[0, 3] = 0
    with pytest.raises(InvalidArgumentError, match="padding token 0"):
        prefix_cache.generate(prompt, max_new_tokens=2, do_sample=False)
    prefix_cache.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=2, do_sample=False)
    assert prefix_cache.store.probe(prompt[0]) == 40


def padded(*lengths):
    """Rows of tokens, the short ones padded on the left, and the mask that says so."""
    width = max(lengths)
    ids, mask = torch.zeros(len(lengths), width, dtype=torch.long), torch.zeros(len(lengths), width, dtype=torch.long)
    for i, n in enumerate(lengths):
        ids[i, width - n :] = (torch.arange(n) * (i + 3)) % 37 + 1
        mask[i, width - n :] = 1
    return ids, mask


def masked(mask):
    return {"attention_mask": mask, "max_new_tokens": 6, "do_sample": False}


@pytest.mark.parametrize("lengths", [(41, 41), (41, 17, 30), (9, 40, 3), (8, 8), (33,), (1, 20)])
def test_a_batch_answers_as_without_a_store_and_again_from_it(prefix_cache, model, lengths, monkeypatch):
    ids, mask = padded(*lengths)
    expected = model.generate(ids, **masked(mask))
    assert torch.equal(prefix_cache.generate(ids, **masked(mask)), expected)
    computed = []
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda *args, **kwargs: (computed.append(kwargs["input_ids"].shape[1]), forward(*args, **kwargs))[1]
    )
    assert torch.equal(prefix_cache.generate(ids, **masked(mask)), expected)
    reach = min(max(lengths) - n + (n - 1) // 8 * 8 for n in lengths)
    assert computed[0] == max(lengths) - reach


def test_each_row_has_a_prefix_of_its_own(prefix_cache, model):
    """What one prompt left alone is found by a row of a batch, with other padding, and the other way round."""
    ids, mask = padded(41, 25)
    for row, ones in zip(ids, mask, strict=True):
        alone = row[ones == 1][None]
        cache, _ = compute(model, alone)
        prefix_cache.save(alone, cache)
    restored = prefix_cache.restore(ids, mask)
    assert restored.get_seq_length() == 40
    assert same_cache_row(restored, 1, 16, prefix_cache.restore(ids[1, 16:]), 24)
    assert not any(layer.keys[1, :, :16].any() or layer.values[1, :, :16].any() for layer in restored.layers)
    other, other_mask = padded(41, 25, 60)
    assert prefix_cache.restore(other[:2], other_mask[:2]).get_seq_length() == 59


def same_cache_row(batch, row, start, one, tokens):
    return all(
        torch.equal(a[row, :, start : start + tokens], b[0, :, :tokens])
        for x, y in zip(batch.layers, one.layers, strict=True)
        for a, b in ((x.keys, y.keys), (x.values, y.values))
    )


def test_a_row_that_ended_early_saves_nothing_of_what_follows(prefix_cache, model):
    """transformers fills its columns with padding: these are no tokens of the sequence."""
    ids, mask = padded(20, 20)
    free = model.generate(ids, **masked(mask) | {"max_new_tokens": 30})
    end = int(free[0, 22])
    prefix_cache.generate(ids, **masked(mask) | {"max_new_tokens": 30, "eos_token_id": end})
    out = model.generate(ids, **masked(mask) | {"max_new_tokens": 30, "eos_token_id": end})
    told = [row[: 20 + next((i + 1 for i, t in enumerate(row[20:].tolist()) if t == end), 30)] for row in out]
    for row, tokens in zip(out, told, strict=True):
        assert prefix_cache.store.probe(row) <= len(tokens)


def test_padding_that_is_not_on_the_left_is_refused(prefix_cache, model):
    ids, mask = padded(20, 20)
    mask[1, 18:] = 0
    with pytest.raises(InvalidArgumentError, match="row 1 has padding that is not on its left"):
        prefix_cache.generate(ids, attention_mask=mask, max_new_tokens=2)
    with pytest.raises(InvalidArgumentError, match=r"attention_mask has shape \[1, 20\], input_ids \[2, 20\]"):
        prefix_cache.restore(ids, mask[:1])


def test_tokens_are_streamed(prefix_cache, model):
    class Streamer(transformers.generation.streamers.BaseStreamer):
        def __init__(self):
            self.seen = []

        def put(self, value):
            self.seen += value.flatten().tolist()

        def end(self):
            self.seen.append("end")

    first, second = Streamer(), Streamer()
    out = prefix_cache.generate(PROMPT, max_new_tokens=5, do_sample=False, streamer=first)
    prefix_cache.generate(PROMPT, max_new_tokens=5, do_sample=False, streamer=second)
    assert first.seen == second.seen == [*out[0].tolist(), "end"]


def test_another_version_of_transformers_is_refused_by_name(prefix_cache, model, monkeypatch, tmp_path):
    """Version 4 has classes of the same names."""
    info = tmp_path / "transformers-4.57.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 4.57.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"transformers>=5,<6, but transformers 4\.57\.1 is installed"):
        PrefixCache(prefix_cache.store, model)


def test_a_failing_disk_does_not_cost_the_answer(prefix_cache, model, monkeypatch, caplog):
    expected = model.generate(PROMPT, max_new_tokens=4, do_sample=False)

    def busy(*args):
        raise BusyError("test")

    monkeypatch.setattr(prefix_cache.store, "put_batch", busy)
    assert torch.equal(prefix_cache.generate(PROMPT, max_new_tokens=4, do_sample=False), expected)
    assert "not saved: store is busy: test" in caplog.text


def test_the_examples_of_the_page_run(tmp_path, model):
    page = (Path(__file__).parents[2] / "docs" / "adapters" / "transformers.md").read_text()
    names = {"path": str(tmp_path), "model": model}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    with names["store"] as store:
        assert len(names["history"]) == 3 + 3 + 8 + 2 + 8
        assert names["answers"].shape == (2, 80 + 5 + 4)
        assert store.probe(names["document"]) == names["known"] == 64


def test_the_adapter_loads_without_transformers():
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "import lsmkv_tensor.adapters.transformers as adapter\n"
        "try: adapter._transformers_classes()\n"
        "except ImportError as error: print(error)\n"
        "assert 'torch' not in sys.modules\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "PrefixCache needs transformers 5" in out.stdout
