"""The front doors are fixed: a name is added on purpose, and never renamed or dropped by accident."""

from __future__ import annotations

import pytest

import lsmkv
import lsmkv_tensor

ENGINE = {
    "DB",
    "FIFO",
    "Adaptive",
    "BusyError",
    "ClosedError",
    "ControllerStats",
    "CorruptionError",
    "FormatTooNewError",
    "Fluid",
    "Follower",
    "FollowerStats",
    "IOFailedError",
    "InvalidArgumentError",
    "LazyLeveling",
    "LevelStats",
    "Leveled",
    "LoadReport",
    "LockedError",
    "LsmError",
    "NoSpaceError",
    "Options",
    "PoisonedError",
    "Prices",
    "ReadOnlyError",
    "RepairReport",
    "Scan",
    "Snapshot",
    "Stats",
    "Tiered",
    "TransitionReport",
    "TreeShape",
    "VerifyReport",
    "WriteBatch",
    "Writes",
    "cost",
    "open",
    "repair",
    "simulate",
    "verify",
}
TENSOR = {
    "ExportReport",
    "FollowedNamespace",
    "GcReport",
    "Health",
    "ImportReport",
    "LivePages",
    "Namespace",
    "NamespaceMismatchError",
    "PageFollower",
    "PageFormat",
    "PageSpans",
    "PageStore",
    "PageStoreStats",
    "Plan",
    "Sharing",
    "SharingStats",
    "SiblingStats",
    "StoreController",
    "StoreControllerStats",
    "StoreOptions",
    "TensorStore",
    "UnsupportedCacheError",
    "errors",
    "export_pack",
    "import_pack",
}
STORE = {"open", "put_batch", "probe", "plan", "get_batch", "drop", "stats", "health", "gc", "sync", "step", "close"}
STORE |= {"export_pack", "import_pack"}
PAGES = {"open", "namespace", "namespaces", "drop_namespace", "sync", "stats", "health", "gc", "step", "close"}
NAMESPACE = {"contains_prefix", "contains", "put_many", "get_into", "delete_many", "keys", "on_evict"}
DATABASE = {
    "batch",
    "check",
    "checkpoint",
    "close",
    "compact",
    "contains_many",
    "count_leading",
    "delete",
    "delete_many",
    "delete_range",
    "flush",
    "get",
    "get_many",
    "load_sorted",
    "pending",
    "put",
    "put_many",
    "scan",
    "set_options",
    "set_policy",
    "settle",
    "snapshot",
    "stats",
    "step",
    "tree",
    "write",
}

FOLLOWER = {
    "check",
    "close",
    "contains_many",
    "count_leading",
    "get",
    "get_many",
    "options",
    "path",
    "refresh",
    "scan",
    "snapshot",
    "stats",
    "tree",
}


@pytest.mark.parametrize(("module", "fixed"), [(lsmkv, ENGINE), (lsmkv_tensor, TENSOR)])
def test_the_package_exports_its_fixed_names(module: object, fixed: set[str]) -> None:
    assert set(module.__all__) == fixed  # type: ignore[attr-defined] # modules have it
    for name in module.__all__:  # type: ignore[attr-defined] # modules have it
        assert getattr(module, name) is not None


def test_the_handles_have_their_fixed_methods() -> None:
    assert set(dir(lsmkv.DB)) >= DATABASE
    assert set(dir(lsmkv.Follower)) >= FOLLOWER
    assert set(dir(lsmkv.Snapshot)) >= {"get", "get_many", "scan", "close"}
    assert set(dir(lsmkv_tensor.TensorStore)) >= STORE
    assert set(dir(lsmkv_tensor.PageStore)) >= PAGES
    assert set(dir(lsmkv_tensor.Namespace)) >= NAMESPACE
    assert set(dir(lsmkv_tensor.PageFollower)) >= PAGES - {"drop_namespace"} | {"refresh"}
    assert set(dir(lsmkv_tensor.FollowedNamespace)) >= NAMESPACE


def test_what_does_not_exist_yet_does_not_pretend() -> None:
    for name in ("pin", "unpin"):
        assert not hasattr(lsmkv_tensor.TensorStore, name)
