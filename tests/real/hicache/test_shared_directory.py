"""`bench.sharing` says what a directory of files that two servers share delivers: here by the real `HiCacheFile` in each."""

from __future__ import annotations

import hashlib
import random

import pytest
import torch
from sglang.srt.mem_cache.hicache_storage import HiCacheFile

from bench.sharing import EachItsOwn
from bench.stock.sglang import storage_config

PAGE = 64
FILES = 40


def key(i):
    return hashlib.sha256(b"%d" % i).hexdigest()


def server(path):
    return HiCacheFile(storage_config({"max_size": FILES // 2 * PAGE}), file_path=str(path))


def prompts(seed):
    rng = random.Random(seed)
    fresh = iter(range(10**6))
    talks = [[next(fresh) for _ in range(3)] for _ in range(4)]
    for _ in range(120):
        talk = rng.choice(talks[-12:])
        talks.append([*talk[: rng.randrange(1, len(talk) + 1)], *(next(fresh) for _ in range(rng.randrange(1, 4)))])
        yield rng.randrange(2), talks[-1]


@pytest.mark.parametrize("seed", range(3))
def test_two_servers_on_one_directory_hit_what_the_model_says(tmp_path, seed):
    servers, model = [server(tmp_path), server(tmp_path)], EachItsOwn(FILES)
    page = torch.arange(PAGE, dtype=torch.uint8)
    total = 0
    for who, prompt in prompts(seed):
        backend = servers[who]
        hits = next((at for at, i in enumerate(prompt) if not backend.exists(key(i))), len(prompt))
        for i in prompt[:hits]:
            assert backend.get(key(i), torch.zeros(PAGE, dtype=torch.uint8)) is not None
        for i in prompt[hits:]:
            assert backend.set(key(i), page)
        assert hits == model.serve(who, prompt)
        assert len(list(tmp_path.glob("*.bin"))) == len(model.files) <= FILES
        total += hits
    assert total
