"""Every rule of the tree has a tree that breaks it."""

from __future__ import annotations

import pytest

from lsmkv.errors import CorruptionError
from lsmkv.version.rules import check_level_rule, problems
from lsmkv.version.shape import Level, Run, TreeShape


def tree(*levels):
    """Levels as lists of (run id, tables)."""
    return TreeShape(tuple(Level(tuple(Run(i, tuple(tables)) for i, tables in runs)) for runs in levels))


def test_a_sound_tree_has_no_problems(trees):
    t = trees.table
    shape = tree([(9, [t(9)]), (8, [t(8)])], [(7, [t(5, b"a", b"c"), t(4, b"d", b"d")])], [(6, [t(1)]), (3, [t(0, b"a", b"b")])])
    assert problems(shape) == ()
    check_level_rule(shape)
    check_level_rule(TreeShape())


def broken(trees):
    t = trees.table
    return [
        (tree([(1, [t(1)])], [(2, [t(1, b"k", b"l")])]), "table 1 is named 2 times"),
        (tree([(1, [t(1)])], [(1, [t(0)])]), "run id 1 is used 2 times"),
        (tree([], [(1, [])]), "run 1 of level 1 has no tables"),
        (tree([(1, [t(1, b"a", b"b"), t(2, b"c", b"d")])]), "run 1 of level 0 has 2 tables"),
        (tree([], [(1, [t(1, b"a", b"m"), t(2, b"m", b"z")])]), "tables 1 and 2 in run 1 of level 1 overlap"),
        (tree([], [(1, [t(1, b"n", b"z"), t(2, b"a", b"m")])]), "overlap or are out of order"),
        (tree([], [(1, [t(1, b"z", b"a")])]), "ends before it begins"),
        (tree([], [(1, [t(1, seqs=(5, 4))])]), "sequence numbers from 5 to 4"),
        (tree([], [(1, [t(1, entries=0)])]), "has 0 entries"),
        (tree([], [(1, [t(1, entries=2, tombstones=3)])]), "3 tombstones"),
        (tree([], [(1, [t(2)]), (2, [t(1)])]), "run 1 stands before run 2 at level 1"),
        (tree([(2, [t(1)]), (1, [t(2)])]), "run 2 of level 0 is not newer than run 1"),
        (tree([], [(2, [t(1, b"a", b"c")])], [(1, [t(2, b"a", b"z")])]), "key b'a' is older in table 1 than in table 2"),
        (
            tree([(5, [t(5, b"k", b"z")])], [(4, [t(2, b"a", b"z")])], [(3, [t(3, b"b", b"z")])]),
            "key b'z' is older in table 2 than in table 3",
        ),
    ]


@pytest.mark.parametrize("index", range(14))
def test_a_broken_tree_is_named(trees, index):
    shape, said = broken(trees)[index]
    assert said in "; ".join(problems(shape))
    with pytest.raises(CorruptionError, match="tree: corrupt"):
        check_level_rule(shape)
