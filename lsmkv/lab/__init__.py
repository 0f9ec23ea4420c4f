"""The laboratory: policies at work on simulated trees, and pictures of what they do."""

from lsmkv.lab.rows import Row, Simulation
from lsmkv.lab.simulator import Simulator, Switch, simulate
from lsmkv.lab.writes import Writes

__all__ = ["Row", "Simulation", "Simulator", "Switch", "Writes", "simulate"]
