"""docs/adapters says what the adapters are: their settings, what these are unless said, and what is counted."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from lsmkv_tensor import StoreOptions
from lsmkv_tensor.adapters import vllm_tier
from lsmkv_tensor.adapters.given import QUEUE_BYTES
from lsmkv_tensor.adapters.lmcache import settings as lmcache
from lsmkv_tensor.adapters.lmcache.tally import COUNTS
from lsmkv_tensor.adapters.sglang import config as sglang
from lsmkv_tensor.adapters.sglang.meter import Meter
from lsmkv_tensor.adapters.versions import CONNECTOR, SUPPORTED
from lsmkv_tensor.adapters.vllm_connector import settings as connector
from lsmkv_tensor.adapters.vllm_connector.statistics import COUNTERS

PAGES = Path(__file__).parents[2] / "docs" / "adapters"
MODULES = ("sglang", "vllm_tier", "vllm_connector", "lmcache_l2", "lmcache_plugin", "transformers")
UNITS = {"": 1, "MiB": 1 << 20, "GiB": 1 << 30}


def text(page, part=0):
    """A page, or the part of it that begins with its n-th title of settings."""
    whole = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    return re.split(r"^#+ Settings$", whole, flags=re.MULTILINE)[part] if part else whole


def table(page, part=1):
    """The settings of a page: name -> what it is unless said, as written."""
    found = {}
    for names, default in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", text(page, part).partition("\n#")[0], re.MULTILINE):
        every = re.findall(r"`(\w+)`", names)
        found |= dict(zip(every, default.split(", ") if len(every) > 1 else [default], strict=True))
    return found


def meant(cell):
    """The value that a cell of the table says; None: required, or made of something else."""
    cell = cell.strip().strip("`")
    number = re.fullmatch(r"([\d.]+) ?(MiB|GiB|)", cell)
    if number:
        return float(number[1]) * UNITS[number[2]]
    return cell.strip('"') if cell.startswith('"') else None


def defaults(kind, **more):
    """What the fields of a class of settings are unless said; None: required."""
    own = {f.name: None if f.default is MISSING else f.default for f in fields(kind) if f.name != "options"}
    return own | more


TIER = {
    name: parameter.default
    for name, parameter in inspect.signature(vllm_tier.LsmkvTier).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
}
STORE = StoreOptions()
CASES = {
    "sglang": (1, defaults(sglang.SglangConfig, capacity_bytes=STORE.capacity_bytes, io_timeout_s=sglang.IO_TIMEOUT_S)),
    "vllm": (1, TIER | {"io_timeout_s": vllm_tier.IO_TIMEOUT_S}),
    "lmcache": (1, defaults(lmcache.LmcacheSettings, capacity_bytes=None, io_timeout_s=lmcache.IO_TIMEOUT_S, member="server")),
}


@pytest.mark.parametrize("page", CASES)
def test_settings_are_those_of_the_code(page):
    part, own = CASES[page]
    written = table(page, part)
    assert set(written) == set(own) | {"put_queue_bytes"}
    for name, value in (own | {"put_queue_bytes": QUEUE_BYTES}).items():
        assert meant(written[name]) == value, name


def test_settings_of_the_connector_are_those_of_the_code():
    written, own = table("vllm", 2), defaults(connector.ConnectorSettings, max_bytes=None)
    assert set(written) == set(own)
    for name, value in own.items():
        assert meant(written[name]) == value, name
    assert f"`io_timeout_s` is {connector.IO_TIMEOUT_S:g} unless said" in text("vllm", 2)


@pytest.mark.parametrize(
    ("prefix", "names", "part"), [("vllm:lsmkv_", vllm_tier._METRICS, 1), ("vllm:lsmkv_connector_", COUNTERS, 2)]
)
def test_metrics_are_those_of_the_code(prefix, names, part):
    (line,) = re.findall(rf"^The counters `{prefix}(\w+`(?:, `_\w+`)*)", text("vllm", part), re.MULTILINE)
    assert {name.strip("`_ ") for name in line.split(",")} == set(names)


def test_counts_are_those_of_the_code():
    for name in set(COUNTS) - {"stored_bytes"}:
        assert f"`{name}`" in text("lmcache"), name
    for name in re.findall(r"meter\.(\w+)|has `(\w+) / (\w+)`", text("sglang")):
        assert all(hasattr(Meter(), one) for one in name if one)


def test_versions_are_those_of_the_code():
    assert f"SGLang ({SUPPORTED['sglang'][0]}; versions below {SUPPORTED['sglang'][1]} are accepted)" in text("sglang")
    assert f"LMCache ({SUPPORTED['lmcache'][0]}; versions below {SUPPORTED['lmcache'][1]} are accepted)" in text("lmcache")
    assert f"| vLLM | {SUPPORTED['vllm'][0]} | {CONNECTOR[0]}, {SUPPORTED['vllm'][0]} |" in text("vllm")
    assert f"for transformers {SUPPORTED['transformers'][0]}" in text("transformers")


def test_every_adapter_loads_without_its_engine_and_without_torch():
    blocked = "torch", "transformers", "sglang", "vllm", "lmcache"
    names = ", ".join(f"lsmkv_tensor.adapters.{module}" for module in MODULES)
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked})); import {names}"
    subprocess.run([sys.executable, "-c", code], check=True)
