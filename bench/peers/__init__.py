"""The subjects: lsmkv and the stores it is compared with. Each adapter imports its binding only when it is opened."""

from bench.peers.bare import BareLog, BarePreads
from bench.peers.base import IndexPeer, PagePeer, Peer, Settings, UnavailableError
from bench.peers.files import HiCacheFiles, HiCacheScan, HiCacheSyncfs, SafetensorsBatches
from bench.peers.lmdb import LmdbIndex, LmdbPages
from bench.peers.lsmkv import LsmkvIndex, LsmkvPages
from bench.peers.plyvel import PlyvelIndex, PlyvelPages
from bench.peers.rocksdict import BlobPages, RocksIndex, RocksPages
from bench.peers.sqlite import SqliteIndex, SqlitePages

__all__ = ["INDEX_PEERS", "PAGE_PEERS", "IndexPeer", "PagePeer", "Peer", "Settings", "UnavailableError"]

INDEX_PEERS: tuple[type[IndexPeer], ...] = (LsmkvIndex, RocksIndex, PlyvelIndex, LmdbIndex, SqliteIndex)
"""In the order of the tables."""

PAGE_PEERS: tuple[type[PagePeer], ...] = (
    LsmkvPages,
    BareLog,
    BarePreads,
    HiCacheFiles,
    HiCacheSyncfs,
    HiCacheScan,
    SafetensorsBatches,
    RocksPages,
    BlobPages,
    LmdbPages,
    SqlitePages,
    PlyvelPages,
)
"""In the order of the tables."""
