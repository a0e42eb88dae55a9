"""Stand-ins for what frameworks write: the same keys and shapes, random numbers; no PyTorch is needed."""

import io
import json
import zipfile

import numpy as np
import pytest

import maa
from maa import sources

HIDDEN = (64, 64)
SB3_ACTIVATIONS = {"relu": "ReLU", "tanh": "Tanh", "elu": "ELU"}


def kind(squash="tanh", activation="relu", observations=3, actions=1, heads="mean"):
    return maa.PolicyType(observations, actions, HIDDEN, (activation,) * len(HIDDEN), heads, squash)


def linear(rng, name, inputs, outputs):
    return {
        name + ".weight": (rng.standard_normal((outputs, inputs)) / np.sqrt(inputs)).astype(np.float32),
        name + ".bias": rng.uniform(-0.1, 0.1, outputs).astype(np.float32),
    }


def mlp(seed, names, observations=3, actions=1):
    """Linear layers under these names, the last one the mean head."""
    rng = np.random.default_rng(seed)
    sizes = (observations, *HIDDEN, actions)
    state = {}
    for name, inputs, outputs in zip(names, sizes, sizes[1:]):
        state.update(linear(rng, name, inputs, outputs))
    return state


def sb3_state(algorithm, seed, observations=3, actions=1):
    rng = np.random.default_rng(seed + 1000)
    of = {"observations": observations, "actions": actions}
    if algorithm == "SAC":
        state = mlp(seed, ["actor.latent_pi.0", "actor.latent_pi.2", "actor.mu"], **of)
        state.update(linear(rng, "actor.log_std", HIDDEN[-1], actions))
        state.update(linear(rng, "critic.qf0.0", observations + actions, 8))
        state.update(linear(rng, "critic_target.qf0.0", observations + actions, 8))
    elif algorithm == "TD3":
        state = mlp(seed, ["actor.mu.0", "actor.mu.2", "actor.mu.4"], **of)
        state.update(linear(rng, "actor_target.mu.0", observations, HIDDEN[0]))
        state.update(linear(rng, "critic.qf0.0", observations + actions, 8))
    else:
        names = ["mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net"]
        state = {"log_std": np.zeros(actions, np.float32), **mlp(seed, names, **of)}
        state.update(linear(rng, "mlp_extractor.value_net.0", observations, HIDDEN[0]))
        state.update(linear(rng, "value_net", HIDDEN[-1], 1))
    return state


def sb3_data(algorithm, activation=None, low="[-2.]", high="[2.]", **others):
    """The JSON of a zip, of what is read of it."""
    module = {"SAC": "stable_baselines3.sac.policies", "TD3": "stable_baselines3.td3.policies"}
    kwargs = {"net_arch": list(HIDDEN), "use_sde": False}
    if activation is not None:
        kwargs["activation_fn"] = f"<class 'torch.nn.modules.activation.{SB3_ACTIVATIONS[activation]}'>"
    return {
        "policy_class": {
            ":type:": "<class 'abc.ABCMeta'>",
            "__module__": module.get(algorithm, "stable_baselines3.common.policies"),
        },
        "policy_kwargs": kwargs,
        "use_sde": False,
        "_last_original_obs": None,
        "observation_space": {":type:": "<class 'gymnasium.spaces.box.Box'>"},
        "action_space": {":type:": "<class 'gymnasium.spaces.box.Box'>", "low": low, "high": high},
        **others,
    }


def write_zip(path, data, state):
    """As Stable-Baselines3 writes it, but with NumPy's arrays for PyTorch's: read_numpy reads those."""
    weights = io.BytesIO()
    np.savez(weights, **state)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps(data))
        archive.writestr("policy.pth", weights.getvalue())


@pytest.fixture
def read_numpy(monkeypatch):
    def load(file, what):
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    monkeypatch.setattr(sources, "_load_torch", load)


def acts(path, row, observations):
    """What row `row` of a data set's weights does, by docs/formats.md, in float64; its type is what the test says: the
    activation and squash are no part of the file."""
    from safetensors.numpy import load_file

    tensors = {name: values.astype(np.float64) for name, values in load_file(path).items()}

    def act(activation, squash):
        x = np.asarray(observations, np.float64)
        if "interface.observation_mean" in tensors:
            clip = tensors.get("interface.observation_clip", np.inf)
            scaled = (x - tensors["interface.observation_mean"]) * tensors["interface.observation_scale"]
            x = np.clip(scaled, -clip, clip)
        weights, first = tensors["weights"][row], 0
        sizes = (x.shape[-1], *HIDDEN, tensors["actions"].shape[1])
        for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
            matrix = weights[first : first + inputs * outputs].reshape(outputs, inputs)
            first += inputs * outputs
            x = x @ matrix.T + weights[first : first + outputs]
            first += outputs
            if i < len(HIDDEN):
                x = {
                    "relu": lambda v: np.maximum(v, 0),
                    "tanh": np.tanh,
                    "elu": lambda v: np.where(v > 0, v, np.exp(v) - 1),
                }[activation](x)
        assert weights.size - first in (0, sizes[-1] * (sizes[-2] + 1))  # a log_std head comes last
        x = {"tanh": np.tanh, "clip": lambda v: np.clip(v, -1, 1), "none": lambda v: v}[squash](x)
        if "interface.action_centre" in tensors:
            x = tensors["interface.action_centre"] + tensors["interface.action_half_width"] * x
        return x

    return act
