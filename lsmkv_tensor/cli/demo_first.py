"""The demo's first process: compute the prompt's KV cache in full, store it, answer, and write down what was stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from lsmkv.env.posix import PosixFileSystem
from lsmkv_tensor.adapters.transformers import PrefixCache
from lsmkv_tensor.cli.demo_measure import digest, disk_bytes, first_token, greedy, now, prefix_parts, warm_up
from lsmkv_tensor.cli.demo_model import converse, load
from lsmkv_tensor.cli.demo_spec import DemoError, Reporter, Spec
from lsmkv_tensor.cli.demo_store import KV_FILE, open_store, store_path

__all__ = ["run_first"]


def run_first(spec: Spec, report: Reporter) -> dict[str, Any]:
    """Do the first process's work; what the second process and the report need to know of it."""
    torch.set_num_threads(spec.threads)
    report.stage("loading the model")
    start = now()
    talker = load(spec.model, Path(spec.model_dir) if spec.model_dir else None)
    load_s = now() - start
    model = talker.model
    talk = converse(talker, spec.tokens, spec.page_tokens)
    prompt = talk.prompt
    with torch.inference_mode(), open_store(spec, model, prompt) as store:
        warm_up(model, lambda: DynamicCache(config=model.config))
        report.stage(f"computing the KV cache of {len(prompt):,} tokens")
        cache = DynamicCache(config=model.config)
        start = now()
        first = first_token(model, prompt, cache, report)
        computed_s = now() - start

        report.stage("storing its pages")
        prefix_cache = PrefixCache(store, model)
        start = now()
        stored = prefix_cache.save(torch.tensor([prompt]), cache)
        accepted_s = now() - start
        store.sync()
        saved_s = now() - start
        tokens = (len(prompt) - 1) // spec.page_tokens * spec.page_tokens
        found = store.probe(prompt)
        if found < tokens:
            msg = f"only {found:,} of {tokens:,} tokens fit into --capacity {spec.capacity_bytes}: give it more"
            raise DemoError(msg)
        parts = [part.contiguous() for part in prefix_parts(cache, tokens)]
        recorded = digest(parts)
        torch_save_s = _torch_save(Path(spec.path) / KV_FILE, parts, report)

        report.stage("answering")
        start = now()
        answer = greedy(model, cache, first.token, spec.answer_tokens, talker.stop)
        answer_s = now() - start
        said = [t for t in answer if t != talker.stop]
        turn = [*prompt, *answer[:-1]]  # as a whole, for the one after it; the last token has not been through the model
        prefix_cache.save(torch.tensor([turn]), cache)
        store.sync()
        conversation_tokens = store.probe(turn)
    return {
        "title": talker.title,
        "threads": torch.get_num_threads(),
        "load_s": load_s,
        "prompt_tokens": len(prompt),
        "tokens": tokens,
        "conversation_tokens": conversation_tokens,
        "kv_bytes": sum(part.nbytes for part in parts),
        "pages_stored": stored,
        "page_bytes": store.format.page_bytes,
        "digest": recorded,
        "computed_s": computed_s,
        "accepted_s": accepted_s,
        "saved_s": saved_s,
        "torch_save_s": torch_save_s,
        "torch_file_bytes": (Path(spec.path) / KV_FILE).stat().st_size,
        "disk_bytes": disk_bytes(store_path(spec)),
        "question": talk.question,
        "answer": answer,
        "said": said,
        "text": talker.tokenizer.decode(said).strip(),
        "answer_s": answer_s,
        "torch": torch.__version__,
    }


def _torch_save(file: Path, parts: list[torch.Tensor], report: Reporter) -> float:
    """The same KV in one file by ``torch.save``, as durable as the store's ``sync``; seconds."""
    report.stage("the same through torch.save")
    start = now()
    torch.save(parts, file)
    handle = PosixFileSystem().open(str(file), "rw")
    handle.sync()
    handle.close()
    return now() - start
