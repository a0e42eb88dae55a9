"""Policies as PyTorch modules."""

import numpy as np

from .errors import Error
from .policy_type import PolicyType


def to_torch(policy):
    """A torch.nn.Module of the same actions: layers, mean and, where there is one, log_std, named as in policy files;
    what lies between it and the world are buffers. torch.jit.script takes it."""
    try:
        import torch
    except ImportError as error:
        raise Error("to_torch: expected PyTorch, found none (pip install torch)") from error

    kind = PolicyType.built()
    names = {
        "relu": torch.nn.ReLU,
        "elu": torch.nn.ELU,
        "gelu": torch.nn.GELU,
        "mish": torch.nn.Mish,
        "tanh": torch.nn.Tanh,
        "identity": torch.nn.Identity,
    }

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            sizes = (kind.observations, *kind.hidden)
            self.layers = torch.nn.ModuleList([torch.nn.Linear(*pair) for pair in zip(sizes, sizes[1:])])
            self.activations = torch.nn.ModuleList([names[name]() for name in kind.activations])
            self.mean = torch.nn.Linear(sizes[-1], kind.actions)
            if kind.has_log_std:
                self.log_std = torch.nn.Linear(sizes[-1], kind.actions)
            defaults = {
                "observation_mean": np.zeros(kind.observations),
                "observation_scale": np.ones(kind.observations),
                "observation_clip": np.inf,
                "action_centre": np.zeros(kind.actions),
                "action_half_width": np.ones(kind.actions),
            }
            interface = policy.interface
            for name, default in defaults.items():
                values = torch.tensor(np.asarray(interface.get(name, default), dtype=np.float32))
                self.register_buffer(name, values, persistent=name in interface)
            self.squash = kind.squash

        def forward(self, observation):
            x = (observation - self.observation_mean) * self.observation_scale
            x = torch.minimum(torch.maximum(x, -self.observation_clip), self.observation_clip)
            for layer, activation in zip(self.layers, self.activations):
                x = activation(layer(x))
            x = self.mean(x)
            if self.squash == "tanh":
                x = torch.tanh(x)
            elif self.squash == "clip":
                x = torch.clamp(x, -1.0, 1.0)
            return self.action_centre + self.action_half_width * x

    network = Network()
    weights = {name: torch.from_numpy(values.copy()) for name, values in kind.split(policy.weights).items()}
    network.load_state_dict({**network.state_dict(), **weights})
    return network.eval()
