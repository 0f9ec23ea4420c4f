"""A namespace is its fields, all of them; a name stays with the fields it was first used for."""

from __future__ import annotations

import hashlib

import pytest

from lsmkv_tensor.errors import InvalidArgumentError, LsmError, NamespaceMismatchError
from lsmkv_tensor.registry import canonical

FIELDS = {"model": "m", "dtype": "bfloat16", "shape": [2, 16, 8], "rank": {"tp": 0, "of": 2}}


def test_the_same_fields_are_the_same_namespace_for_good(world):
    store = world.open()
    a = store.namespace(FIELDS, 100)
    b = store.namespace(dict(reversed(FIELDS.items())), 100)
    c = store.namespace({**FIELDS, "dtype": "float16"}, 100)
    d = store.namespace(FIELDS, 101)
    assert a.number == b.number
    assert len({a.number, c.number, d.number}) == 3
    assert 0 not in (a.number, c.number, d.number)
    assert a.digest == hashlib.sha256(canonical(FIELDS, 100)).digest()
    numbers = [a.number, c.number, d.number]
    store = world.reopen()
    again = [store.namespace(f, n).number for f, n in ((FIELDS, 100), ({**FIELDS, "dtype": "float16"}, 100), (FIELDS, 101))]
    assert again == numbers


def test_they_are_listed(world):
    store = world.open()
    a = store.namespace(FIELDS, 100, name="a")
    store.namespace(FIELDS, 100, name="also a")
    b = store.namespace({}, 7)
    listed = world.reopen().namespaces()
    assert [(i.number, i.fields, i.page_bytes, i.names) for i in listed] == [
        (a.number, FIELDS, 100, ("a", "also a")),
        (b.number, {}, 7, ()),
    ]
    assert [i.digest for i in listed] == [a.digest, b.digest]


def test_a_name_with_other_fields_is_refused_and_names_them(world):
    store = world.open()
    store.namespace(FIELDS, 100, name="llama")
    for _ in range(2):
        with pytest.raises(NamespaceMismatchError) as caught:
            store.namespace({"model": "m", "dtype": "int8", "shape": [2, 16, 8], "new": 1}, 64, name="llama")
        assert isinstance(caught.value, LsmError)
        assert caught.value.name == "llama"
        assert caught.value.fields == {
            "dtype": ("bfloat16", "int8"),
            "rank": ({"of": 2, "tp": 0}, "absent"),
            "new": ("absent", 1),
            "page_bytes": (100, 64),
        }
        assert "dtype: stored 'bfloat16', asked 'int8'" in str(caught.value)
        store = world.reopen()
    assert store.namespace(FIELDS, 100, name="llama").number == 1
    assert len(store.namespaces()) == 1


def test_a_new_namespace_survives_a_power_cut(world):
    first = world.open().namespace(FIELDS, 100, name="llama")
    store = world.crash()
    assert store.namespace({"other": 1}, 100).number != first.number
    assert store.namespace(FIELDS, 100, name="llama").number == first.number


@pytest.mark.parametrize(
    ("fields", "page_bytes", "name"),
    [
        ({"a": object()}, 1, None),
        ({"a": float("nan")}, 1, None),
        ({1: "a"}, 1, None),
        ({"a": {1: "b"}}, 1, None),
        ({"a": b"bytes"}, 1, None),
        ({}, 0, None),
        ({}, -5, None),
        ({}, 1.5, None),
        ({}, True, None),
        ({}, 1, ""),
        ({}, 1, 5),
    ],
)
def test_what_has_no_canonical_form_is_refused(world, fields, page_bytes, name):
    store = world.open()
    with pytest.raises(InvalidArgumentError):
        store.namespace(fields, page_bytes, name=name)
    assert store.namespaces() == []
