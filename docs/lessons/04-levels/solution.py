"""Lesson 4, a solution: levels that carry like the digits of a counter."""


def write_copies(arrivals: int, ratio: int) -> float:
    """How often an entry was written when ``arrivals`` have come: once by its flush, and by every merge it took part in.

    Level i (1, 2, ...) holds at most (ratio - 1) * ratio ** (i - 1) arrivals, in one run. An arrival merges with the run of
    level 1 if both fit there; else it takes that run along to level 2, and so on, all in one merge. The last level always
    takes what comes, by a merge; if it then holds too much, its run becomes that of a new level below: a move, which writes
    nothing.
    """
    levels = [0]
    written = 0
    for _ in range(arrivals):
        carry, at = 1, 0
        while at + 1 < len(levels) and levels[at] + carry > (ratio - 1) * ratio**at:
            carry += levels[at]
            levels[at] = 0
            at += 1
        levels[at] += carry
        written += levels[at]
        if levels[at] > (ratio - 1) * ratio**at:  # only the last level can be too full
            levels.append(levels[at])
            levels[at] = 0
    return 1.0 + written / arrivals
