"""The papers' equations, one function each: what they say, under which assumptions, where they stop to hold.

Symbols: T size ratio, K runs in each level but the last, Z runs in the last, L levels, B entries a block, m filter bits a key
on average over the whole tree. All describe *full* trees whose levels hold exactly T times the one above; a real tree, whose
last level is partly full, may differ up to fourfold, which is why :func:`lsmkv.cost.predict` counts real runs instead.
Lookups and scans are in blocks fetched, updates in copies (one copy: an entry written once into one level).

Numbers of equations are given where a text that quotes the paper was at hand: Monkey (Dayan, Athanassoulis, Idreos, SIGMOD
2017) eq. 2-6 and Dostoevsky (Dayan, Idreos, SIGMOD 2018) eq. 3-7, 9 and 14. Others name the paper only, or say what
is not checked. Every function raises InvalidArgumentError for numbers outside its validity.
"""

from lsmkv.cost.closed_forms.bush import (
    bush_fprs,
    bush_runs,
    bush_update,
    bush_zero_lookup_bits,
)
from lsmkv.cost.closed_forms.dostoevsky import (
    existing_lookup,
    inner_fpr,
    last_fpr,
    range_blocks,
    space_amplification,
    throughput,
    update_dostoevsky,
    update_fluid,
    zero_lookup,
    zero_lookup_threshold,
)
from lsmkv.cost.closed_forms.endure import (
    divergence,
    k_lsm_cost,
    k_lsm_fprs,
    robust_cost,
    robust_dual,
    worst_mix,
)
from lsmkv.cost.closed_forms.monkey import (
    asked_shares,
    bloom_fpr,
    mixed_fprs,
    monkey_threshold,
    monkey_zero_lookup,
    uniform_zero_lookup,
    update_monkey_leveled,
    update_monkey_tiered,
    wasted_blocks,
)
from lsmkv.cost.closed_forms.triggers import (
    best_runs_for_seeks,
    seek_update_blocks,
    update_blocks,
    update_exact,
    update_k_lsm,
    update_last_overwritten,
)
from lsmkv.cost.gc import fill_for, joint_bytes_per_put, live_share, space_bound, write_amplification, write_bound

__all__ = [
    "asked_shares",
    "best_runs_for_seeks",
    "bloom_fpr",
    "bush_fprs",
    "bush_runs",
    "bush_update",
    "bush_zero_lookup_bits",
    "divergence",
    "existing_lookup",
    "fill_for",
    "inner_fpr",
    "joint_bytes_per_put",
    "k_lsm_cost",
    "k_lsm_fprs",
    "last_fpr",
    "live_share",
    "mixed_fprs",
    "monkey_threshold",
    "monkey_zero_lookup",
    "range_blocks",
    "robust_cost",
    "robust_dual",
    "seek_update_blocks",
    "space_amplification",
    "space_bound",
    "throughput",
    "uniform_zero_lookup",
    "update_blocks",
    "update_dostoevsky",
    "update_exact",
    "update_fluid",
    "update_k_lsm",
    "update_last_overwritten",
    "update_monkey_leveled",
    "update_monkey_tiered",
    "wasted_blocks",
    "worst_mix",
    "write_amplification",
    "write_bound",
    "zero_lookup",
    "zero_lookup_threshold",
]
