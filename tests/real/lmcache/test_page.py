"""The configurations on the page of the adapters are taken by LMCache as they stand there."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from importlib import import_module

from lmcache.v1.config import LMCacheEngineConfig
from lmcache.v1.distributed.l2_adapters.config import add_l2_adapters_args, parse_args_to_l2_adapters_config
from lmcache.v1.storage_backend.abstract_backend import StoragePluginInterface

from lsmkv_tensor.adapters.lmcache.settings import read_settings
from tests.real.lmcache.world import Server, prompt
from tests.real.pages import arguments, block


def test_the_servers_command_line(tmp_path):
    parser = ArgumentParser()
    add_l2_adapters_args(parser)
    (given,) = arguments("lmcache")
    (taken,) = parse_args_to_l2_adapters_config(parser.parse_args(["--l2-adapter", json.dumps(given)])).adapters
    assert (taken.module_path, taken.class_name) == (given["module_path"], given["class_name"])
    server = Server({**taken.adapter_params, "path": str(tmp_path)})
    assert server.adapter.holding.state == "own"
    tokens = prompt(1, 2)
    server.store(tokens)
    server.empty_l1()
    assert server.load(tokens) == [2]
    server.close()


def test_the_engines_file(tmp_path):
    file = tmp_path / "lmcache.yaml"
    file.write_text(block("lmcache", "storage_plugins:"))
    config = LMCacheEngineConfig.from_file(str(file))
    (name,) = config.storage_plugins
    module, kind = (config.extra_config[f"storage_plugin.{name}.{what}"] for what in ("module_path", "class_name"))
    assert issubclass(getattr(import_module(module), kind), StoragePluginInterface)
    assert read_settings(config.extra_config["lsmkv"], "lsmkv", "worker0of1").options.capacity_bytes == 10**12
    assert config.pre_caching_hash_algorithm == "sha256_cbor"
