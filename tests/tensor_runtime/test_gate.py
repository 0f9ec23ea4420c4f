"""The gate of a store: a pause begins when the last call inside leaves, not when the time for it is over."""

import threading

from lsmkv_tensor.runtime import StoreGate
from tests.tensor_runtime.conftest import Call


def test_a_pause_waits_for_those_inside_and_not_longer():
    gate, inside, leave = StoreGate("g"), threading.Event(), threading.Event()

    def stay():
        with gate:
            inside.set()
            assert leave.wait(60)

    call = Call(stay)
    assert inside.wait(60)
    pause = Call(lambda: gate.pause(600.0))
    while gate.lets_in:
        pass
    leave.set()
    call.result()
    assert pause.result()
    late = Call(gate.__enter__)
    gate.resume()
    late.result()
