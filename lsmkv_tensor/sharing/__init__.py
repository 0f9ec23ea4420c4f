"""Sharing between processes: everybody writes a directory of its own and reads those of all.

A server runs in several processes (tensor, pipeline and data parallel ranks, replicas), and a page store has one writer. So
each process is a *member* with a store of its own under one root (:mod:`~lsmkv_tensor.sharing.members`), and follows its
*siblings*: their indexes through :class:`lsmkv.Follower`, their segments through descriptors of its own. Pages are looked for
here, then there; puts go here, except for pages that a sibling holds already. Nothing is agreed between the processes: no
message, no shared memory, no lock. A sibling may start, stop, be killed or removed at any time.

**Who is who.** Namespaces are told by the canonical text of all their fields, as it stands in the sibling's index; the number
it has there is the sibling's own affair, is asked again at each call, before and after the places are looked up, and is never
compared with ours.

**Never a wrong byte.** A writer knows nothing of its followers: it evicts, collects, and overwrites segments while they read.
What a follower delivers was read into memory, then summed, and the sum is that of the index value found under this key:
xxh3-64 seeded by the key, in an index whose blocks, logs and tables are themselves checksummed. Which generation the segment
was in when it was read does not matter for that. Reads go through the page cache, which one machine has one of: a sibling's
O_DIRECT write drops what it overwrites from there before and after; should that fail, the second look reads past the cache.

**No page missed for being moved.** The commits that take a page out of a segment come before the segment is written again. So
a read that finds other bytes looks at the index anew: it then names another place (the page was moved), none (it was
evicted), or, only if nothing happened to it, the same one. Only then are the bytes themselves wrong: damage, or what a power
cut left of an unsynced write. That is a miss, counted as ``unreadable`` of that sibling; it is for the sibling to find out
and drop it, and follower and sibling never write to each other's files.

**No page missed for being new.** A page is in the kernel, index entry included, before its put returns. A look at a sibling
costs 15 us when there is no news, so every miss is preceded by one (``Sharing.miss_refresh_s``), and hits rest on looks at
most ``Sharing.refresh_s`` old.

**What a sibling's trouble costs.** Its pages, for a while. A directory that cannot be followed (damaged, of a newer format,
half removed) is skipped, told in the statistics and tried again; no call fails for it. Another segment size is no trouble at
all.

**Durability** is the sibling's matter. An unsynced page may vanish with the power, for it as for us.

Not here: several machines (a network file system promises none of this), moving pages between members, quotas over all
members.
"""

from lsmkv_tensor.sharing.members import member_path, members
from lsmkv_tensor.sharing.options import Sharing
from lsmkv_tensor.sharing.shared import Everywhere, SiblingReader, leading
from lsmkv_tensor.sharing.siblings import Siblings, open_siblings
from lsmkv_tensor.sharing.stats import SharingStats, SiblingStats

__all__ = [
    "Everywhere",
    "Sharing",
    "SharingStats",
    "SiblingReader",
    "SiblingStats",
    "Siblings",
    "leading",
    "member_path",
    "members",
    "open_siblings",
]
