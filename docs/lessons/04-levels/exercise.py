"""Lesson 4, starter code: how often a leveled tree writes an entry."""


def write_copies(arrivals: int, ratio: int) -> float:
    """How often an entry was written when ``arrivals`` have come: once by its flush, and by every merge it took part in.

    Level i (1, 2, ...) holds at most (ratio - 1) * ratio ** (i - 1) arrivals, in one run. An arrival merges with the run of
    level 1 if both fit there; else it takes that run along to level 2, and so on, all in one merge. The last level always
    takes what comes, by a merge; if it then holds too much, its run becomes that of a new level below: a move, which writes
    nothing.
    """
    # YOUR TURN: keep the arrivals of each level in a list; add up what merges write, in arrivals.
    levels = 0
    while ratio**levels <= arrivals:
        levels += 1
    return 1.0 + levels
