"""The laboratory: policies at work on simulated trees, and pictures of what they do."""

from lsmkv.lab.rows import Row, Simulation
from lsmkv.lab.simulator import Simulator, Switch
from lsmkv.simulation import Writes, simulate

__all__ = ["Row", "Simulation", "Simulator", "Switch", "Writes", "simulate"]
