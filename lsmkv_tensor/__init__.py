"""A store for the KV cache of language models: prefixes in, pages of tensors out, inside a byte budget, across restarts."""

from lsmkv_tensor import errors
from lsmkv_tensor.errors import NamespaceMismatchError, UnsupportedCacheError
from lsmkv_tensor.followed import FollowedNamespace, PageFollower
from lsmkv_tensor.format import PageFormat
from lsmkv_tensor.namespaces import Namespace
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.packs import ExportReport, ImportReport, LivePages, export_pack, import_pack
from lsmkv_tensor.pages import PageStore, PageStoreStats
from lsmkv_tensor.plans import Plan
from lsmkv_tensor.retention.steering_settings import StoreController, StoreControllerStats
from lsmkv_tensor.runtime import Health
from lsmkv_tensor.sharing import Sharing, SharingStats, SiblingStats
from lsmkv_tensor.spans import PageSpans
from lsmkv_tensor.store import TensorStore
from lsmkv_tensor.vlog.gc import GcReport

__all__ = [
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
]
