"""From trajectories to the weights of policies (Make-An-Agent, arXiv 2407.10973). Start at Dataset and Generator."""

from . import network as _network
from ._native import Policy
from .dataset import Dataset
from .errors import Error
from .generator import Generator, fit_options, generate_options
from .policy_type import PolicyType
from .statistics import Statistics
from .trajectory import Trajectory, record

Policy.to_torch = _network.to_torch

__all__ = [
    "Dataset",
    "Error",
    "Generator",
    "Policy",
    "PolicyType",
    "Statistics",
    "Trajectory",
    "fit_options",
    "generate_options",
    "record",
]
