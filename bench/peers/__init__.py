"""The subjects: lsmkv and the stores it is compared with. Each adapter imports its binding only when it is opened."""

from bench.peers.bare import BareLog, BarePreads
from bench.peers.base import IndexPeer, PagePeer, Peer, Settings, UnavailableError
from bench.peers.diskcache import DiskCachePages
from bench.peers.files import HiCacheFanOut, HiCacheFiles, HiCacheScan, HiCacheSyncfs, SafetensorsBatches
from bench.peers.indexed import SafetensorsRocks
from bench.peers.lmdb import LmdbIndex, LmdbPages
from bench.peers.lsmkv import LsmkvFifo, LsmkvFluid, LsmkvIndex, LsmkvLazyLeveling, LsmkvLeveled, LsmkvPages, LsmkvTiered
from bench.peers.plyvel import PlyvelIndex, PlyvelPages
from bench.peers.rocksdict import BlobPages, RocksIndex, RocksPages
from bench.peers.sorteddict import SortedDictIndex
from bench.peers.sqlite import SqliteIndex, SqlitePages

__all__ = [
    "BACKGROUND_PEERS",
    "INDEX_PEERS",
    "PAGE_PEERS",
    "POLICY_PEERS",
    "IndexPeer",
    "PagePeer",
    "Peer",
    "Settings",
    "UnavailableError",
    "index_peer",
]

INDEX_PEERS: tuple[type[IndexPeer], ...] = (LsmkvIndex, RocksIndex, PlyvelIndex, LmdbIndex, SqliteIndex, SortedDictIndex)
"""In the order of the tables. A new subject is a class with a name of its own and a place here."""

POLICY_PEERS: tuple[type[IndexPeer], ...] = (
    LsmkvLeveled,
    LsmkvTiered,
    LsmkvLazyLeveling,
    LsmkvFluid,
    LsmkvFifo,
    RocksIndex,
    PlyvelIndex,
)
"""The engine under each policy, beside the trees that have one policy."""

BACKGROUND_PEERS = tuple(kind for kind in INDEX_PEERS if kind.background is not IndexPeer.background)
"""Those that flush and compact beside their caller."""


def index_peer(name: str) -> type[IndexPeer]:
    """The subject of that name among :data:`INDEX_PEERS`."""
    return next(kind for kind in INDEX_PEERS if kind.name == name)


PAGE_PEERS: tuple[type[PagePeer], ...] = (
    LsmkvPages,
    BareLog,
    BarePreads,
    HiCacheFiles,
    HiCacheFanOut,
    HiCacheSyncfs,
    HiCacheScan,
    SafetensorsBatches,
    SafetensorsRocks,
    RocksPages,
    BlobPages,
    LmdbPages,
    SqlitePages,
    PlyvelPages,
    DiskCachePages,
)
"""In the order of the tables."""
