"""An index whose files cannot be listed or measured: errors have names, puts are declined, nothing is lost."""

from __future__ import annotations

import pytest

from lsmkv.testing import FailOp
from lsmkv_tensor.errors import IOFailedError
from tests.tensor_pages.conftest import INDEX
from tests.tensor_runtime.conftest import SIZE, FaultyWorld


@pytest.mark.parametrize("op", ["listdir", "stat"])
def test_measuring_an_index_that_cannot_be_asked_fails_by_name(op):
    world = FaultyWorld()
    ns = world.open().namespace({"m": 1}, SIZE)
    world.put(ns, range(3))
    rule = world.fs.add(FailOp(op, path="*/index*"))
    with pytest.raises(IOFailedError, match="measuring the index"):
        world.store.stats()
    large = {b"%d" % i: bytes(INDEX // 32) for i in range(9)}  # before it is written the index is measured
    assert ns.put_many(world.keys([3]), world.pages([3], SIZE), records=large) == [False]
    with pytest.raises(IOFailedError, match="measuring the index"):
        ns.write_records(large)
    world.fs.remove(rule)
    assert world.put(ns, [3]) == [True]
    assert world.store.stats().pages == 4
    assert world.check(ns, range(4)) == set(range(4))
    world.store.close()
