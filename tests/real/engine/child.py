"""One engine process: python child.py JOB. Prints, as its last line, what it generated and what the connector counted."""

from __future__ import annotations

import json
import sys
import time


def main(job):
    import torch
    from vllm import LLM, SamplingParams

    torch.set_num_threads(1)
    transfer = {
        "kv_connector": "LsmkvConnector",
        "kv_role": "kv_both",
        "kv_connector_module_path": "lsmkv_tensor.adapters.vllm_connector",
        "kv_load_failure_policy": "recompute",
        "kv_connector_extra_config": job["store"],
    }
    llm = LLM(
        model=job["model"],
        dtype=job.get("dtype", "bfloat16"),
        skip_tokenizer_init=True,
        enforce_eager=True,
        max_model_len=1024,
        max_num_seqs=4,
        block_size=32,
        disable_log_stats=False,
        kv_cache_memory_bytes=256 << 20,
        kv_transfer_config=transfer if job["store"] else None,
        **job.get("engine", {}),
    )
    params = SamplingParams(temperature=0.0, max_tokens=job["tokens"], detokenize=False, ignore_eos=True)
    answers, began = [], time.monotonic()
    for batch in job["prompts"]:
        out = llm.generate([{"prompt_token_ids": prompt} for prompt in batch], params, use_tqdm=False)
        answers += [[list(one.outputs[0].token_ids), one.num_cached_tokens] for one in out]
    seconds = time.monotonic() - began
    found = {}
    for metric in llm.get_metrics():
        if "lsmkv" in metric.name or "external_prefix_cache" in metric.name:
            found[metric.name.removeprefix("vllm:")] = metric.value
    print(json.dumps({"answers": answers, "metrics": found, "seconds": seconds}))


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        main(json.load(file))
