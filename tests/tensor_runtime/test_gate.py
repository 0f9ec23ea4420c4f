"""The gates that calls pass: who is inside is known by thread, and whether calls are let in is seen without waiting."""

from __future__ import annotations

import threading

import pytest

from lsmkv.env.gate import CallGate
from lsmkv.errors import BusyError, ClosedError, PoisonedError
from lsmkv_tensor.runtime import StoreGate
from tests.tensor_runtime.conftest import Call


@pytest.mark.parametrize("kind", [CallGate, StoreGate])
def test_whoever_came_first_may_leave_first(kind):
    gate, inside, go = kind("the store"), threading.Event(), threading.Event()

    def other():
        with gate:
            inside.set()
            assert go.wait(60)

    first = Call(other)
    assert inside.wait(60)
    with gate:
        go.set()
        first.result()
        with pytest.raises(BusyError):
            gate.bar()
    assert gate.shut()
    with pytest.raises(ClosedError), gate:
        pass


def test_whether_calls_are_let_in_follows_what_happens_to_the_gate():
    gate = StoreGate("the store")
    said = [gate.lets_in, gate.pause(0), gate.lets_in]
    gate.resume()
    said += [gate.lets_in]
    gate.broken = PoisonedError("/store", OSError())
    said += [gate.lets_in]
    gate.broken = None
    said += [gate.lets_in]
    with gate:
        said += [gate.pause(0), gate.lets_in]
        with pytest.raises(BusyError):
            gate.bar()
        said += [gate.lets_in]
    assert said == [True, True, False, True, False, True, False, True, True]
    gate.shut()
    assert not gate.lets_in


def test_a_pause_waits_for_those_inside_and_not_longer():
    gate, inside, leave = StoreGate("the store"), threading.Event(), threading.Event()

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
