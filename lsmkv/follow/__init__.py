"""Reading a store that somebody else writes: ``lsmkv.open(path, options, read_only=True)``.

**What it is.** A :class:`Follower` has the read door of an open store and ``refresh()``. It takes no lock, starts no thread and
changes nothing: its file system refuses every change, so it works in directories it may not write to, beside any number of
others, in the writer's own process, and for stores that nobody has open. What it cannot do raises ReadOnlyError.

**What it shows.** The effect of a prefix of the writer's commits, whole batches only: at least everything that was
acknowledged before the last look began, and never less than it showed before. A look is ``refresh()``, or any read that finds
the last look older than ``Options.refresh_s``. A batch shows when it has reached the kernel, which is a moment before its
writer is told so; the writer itself may fail in between (killed, or poisoned by a failed sync), then reopening the store
brings the batch back, too. A power cut may take what was not synced, from followers as from everybody.

**How it follows.** Its state mirrors the writer's: the tables that the manifest names, and one memtable for each log at or above
the manifest's floor, filled by replaying the log. A look does, in this order:

1. list the directory; read on in each log at or above the floor, oldest first, keeping open what was opened;
2. read on in the manifest, or read all of it after a rewrite;
3. drop the logs that are now below the floor, apply the new batches of the others to their memtables, in order, and
   publish tables and memtables as one new state.

*Logs before manifest* is what makes it right. An entry acknowledged before the look is in some log L then or in a table. If L
was listed and is still at or above the floor of step 2, it was read. If L was removed meanwhile, an edit that puts its entries
into tables was durable before, and step 2 reads at least that edit. Never is a log missing between the tables and a later log:
logs below the floor are in tables as a whole, and those above it were all there at step 1, or have no entry older than the
look. A log that has a successor in the listing was complete when it was listed, so reading oldest first leaves no hole.
(Manifest before logs would need the manifest to be read twice: a flush in between hides a log from both.)

**Nothing read is ever taken back.** Frames of a log count when their checksums match. A failed append is cut off again by its
writer, who writes groups so that no frame of one is whole before all of it is (:mod:`lsmkv.wal.writer`); a frame of the
manifest that is whole is in effect, also for whoever opens the store after a crash. Half a frame is left for the next look; left
behind by a killed writer it is the end of the log, which the next opening replays into tables and removes, by the same rules
(:class:`lsmkv.recover.replay.Chain`). So a follower goes through crash, recovery and any number of writers in turn. Should the
store become older than what was shown (it was replaced, or a repair gave commits up), looks raise CorruptionError and the
follower keeps its last state: open it anew.

**Files that vanish.** Reads keep the tables they read open; an unlinked file stays readable. A table that is gone when it is
first opened makes the read look again and start over in the newer state, whose tables are there: if the manifest still names
it after that, it is lost: CorruptionError. A snapshot or scan opens all its tables when it is made and holds them, whatever
the writer's compactions do; it needs nothing from the writer. A read of a file that is being written may see bytes of two
moments; so a look that fails its checks is repeated from scratch, ``ATTEMPTS`` times in all, before its error is believed.

**What it costs.** A look without news: one listing, two small reads of the manifest, one ``fstat`` a log. Memory: what the writer
has not flushed yet, plus a block cache of its own. No background thread: followers that nobody reads cost nothing, and a thread
would only move the look from the reads that need it to moments that do not.

Not here: waiting for news (poll ``refresh()``), followers on another machine over a network file system, whose caches promise
none of the above.
"""

from lsmkv.follow.follower import Follower
from lsmkv.follow.stats import FollowerStats

__all__ = ["Follower", "FollowerStats"]
