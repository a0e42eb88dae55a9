"""Policies of other frameworks as they are: layers, statistics, action box, each with the key that it was read from.

Files are read by torch.load(weights_only=True) and as JSON: nothing is unpickled."""

import io
import json
import math
import re
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .errors import Error, require
from .statistics import Statistics, numbers

_erf = np.vectorize(math.erf, otypes=[np.float64])
ACTIVATIONS = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: (0.5 * x * (1 + _erf(x / math.sqrt(2)))).astype(x.dtype),
    "mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
    "tanh": np.tanh,
}
SQUASHES = {"none": lambda x: x, "tanh": np.tanh, "clip": lambda x: np.clip(x, -1, 1)}


@dataclass
class ActionBox:
    """action = centre + half_width * (the squashed mean), as maa::ActionBox."""

    centre: np.ndarray
    half_width: np.ndarray

    @staticmethod
    def read(found, actions, what="action_box"):
        """Of (low, high), or an object with these (a gymnasium Box)."""
        if found is None or isinstance(found, ActionBox):
            return found
        if hasattr(found, "low") and hasattr(found, "high"):
            found = (found.low, found.high)
        require(
            isinstance(found, (tuple, list)) and len(found) == 2,
            what,
            ": expected (low, high) or a Box space, found ",
            type(found).__name__,
        )
        low, high = (numbers(limits, what, actions).astype(np.float32) for limits in found)
        require((low < high).all(), what, ": expected low < high, found ", low, " and ", high)
        centre = np.float32(0.5) * low + np.float32(0.5) * high
        return ActionBox(centre, np.minimum(high - centre, centre - low))

    @staticmethod
    def unit(actions):
        return ActionBox(np.zeros(actions, np.float32), np.ones(actions, np.float32))

    def same(self, other):
        return np.array_equal(self.centre, other.centre) and np.array_equal(self.half_width, other.half_width)

    def text(self):
        return f"{self.centre - self.half_width} to {self.centre + self.half_width}"


@dataclass
class Source:
    """A policy as its framework has it. `layers`: (weight [out, in], bias [out]) of the hidden layers. `world`: its mean
    is in the world's units, and only then clipped to the box; otherwise in the box's."""

    layers: list
    mean: tuple
    activations: tuple
    squash: str
    log_std: tuple | None = None
    box: ActionBox | None = None
    world: bool = False
    statistics: Statistics | None = None
    notes: list = field(default_factory=list)

    def boxed(self):
        """The same with its mean in the box's units."""
        if not self.world or self.box is None:
            return self
        centre, half = (x.astype(np.float64) for x in (self.box.centre, self.box.half_width))
        weight, bias = self.mean
        mean = (weight / half[:, None], (bias - centre) / half)
        log_std = self.log_std and (self.log_std[0], self.log_std[1] - np.log(half))
        return Source(
            self.layers, mean, self.activations, self.squash, log_std, self.box, False, self.statistics, self.notes
        )

    def act(self, observations):
        """observations [O] or [rows, O] -> actions, as the framework computes them."""
        x = np.asarray(observations, dtype=np.float64)
        if self.statistics is not None:
            x = self.statistics.apply(x)
        x = x.astype(np.float32)
        for (weight, bias), activation in zip(self.layers, self.activations):
            x = ACTIVATIONS[activation](x @ weight.T + bias)
        x = x @ self.mean[0].T + self.mean[1]
        if self.box is None:
            return SQUASHES[self.squash](x)
        if self.world:
            low, high = self.box.centre - self.box.half_width, self.box.centre + self.box.half_width
            return np.clip(x, low, high) if self.squash == "clip" else x
        return self.box.centre + self.box.half_width * SQUASHES[self.squash](x)


def _load_torch(file, what):
    try:
        import torch
    except ImportError:
        raise Error(f"{what}: expected PyTorch to read it, found none: pip install torch") from None
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of what is no file of weights torch raises many kinds
        reason = str(error).strip().split("\n")[0]
        raise Error(
            f"{what}: expected a file of weights alone (other pickles are not read), found: {reason}"
        ) from None


class State:
    """A state_dict of which every tensor must be used, or named as one that no actor needs."""

    def __init__(self, found, what):
        require(
            hasattr(found, "items") and len(found) > 0,
            what,
            ": expected a state_dict, found ",
            "an empty one" if hasattr(found, "items") else type(found).__name__,
        )
        odd = next((key for key in found if not isinstance(key, str)), None)
        require(odd is None, what, ": expected names of tensors as keys, found ", odd)
        self.what = what
        self.left = dict(found)

    def __contains__(self, key):
        return key in self.left

    def ignore(self, *prefixes):
        for key in [key for key in self.left if key.startswith(prefixes)]:
            del self.left[key]

    def take(self, key, dimensions):
        require(key in self.left, self.what, ": expected the key '", key, "', found ", self._names())
        values = self.left.pop(key)
        if hasattr(values, "detach"):
            values = values.detach().cpu().float().numpy()
        try:
            values = np.array(values, dtype=np.float32)
        except (TypeError, ValueError):
            raise Error(f"{self.what}, '{key}': expected a tensor, found {type(values).__name__}") from None
        require(
            dimensions is None or values.ndim == dimensions,
            f"{self.what}, '{key}': expected {dimensions} dimensions, found shape {values.shape}",
        )
        require(np.isfinite(values).all(), f"{self.what}, '{key}': expected finite numbers, found NaN or infinity")
        return values

    def linear(self, prefix):
        weight, bias = self.take(prefix + ".weight", 2), self.take(prefix + ".bias", 1)
        require(
            weight.shape[0] == bias.size,
            f"{self.what}, '{prefix}.bias': expected {weight.shape[0]} numbers as '{prefix}.weight' has, found {bias.size}",
        )
        return weight, bias

    def chain(self, prefix):
        """prefix0, prefix2, ...: a Sequential of linear layers with an activation after each."""
        layers, index = [], 0
        while f"{prefix}{index}.weight" in self:
            layers.append(self.linear(f"{prefix}{index}"))
            index += 2
        require(layers, self.what, ": expected the key '", prefix, "0.weight', found ", self._names())
        return layers

    def require_all_used(self):
        require(
            not self.left,
            self.what,
            ": expected the keys of a plain MLP actor, found also '",
            "', '".join(sorted(self.left)[:5]),
            "'",
        )

    def _names(self):
        names = sorted(self.left)
        return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _head(state, key, mean, of=lambda values: values):
    """The log_std head that gives the vector `key` [A] whatever the observation: its weight is 0."""
    weight, bias = mean
    values = state.take(key, None)
    require(
        values.size == bias.size,
        f"{state.what}, '{key}': expected {bias.size} numbers, one for each action, found shape {values.shape}",
    )
    return np.zeros_like(weight), of(values.reshape(-1))


def _log(state, key):
    def of(values):
        require((values > 0).all(), f"{state.what}, '{key}': expected positive numbers, found {values.min()}")
        return np.log(values)

    return of



def _source(layers, mean, activation, squash, **others):
    return Source(layers, mean, (activation,) * len(layers), squash, **others)


def plain(found, policy_type, layers=None, action_box=None, world=False, statistics=None, what="state_dict"):
    """A state_dict of the policy type; its hidden layers are named layers.0, layers.1, ..., its heads mean and log_std,
    or as `layers` tells: the prefixes of all linear layers in order, the last one the mean head. A log_std [A] is one that
    does not depend on the observation. It may hold its interface as policy files do: observation_mean, observation_scale,
    observation_clip, action_centre, action_half_width."""
    state = State(found, what)
    if layers is None:
        layers = [f"layers.{i}" for i in range(len(policy_type.hidden))] + ["mean"]
    linear = [state.linear(prefix) for prefix in layers]
    log_std = None
    if "log_std.weight" in state:
        log_std = state.linear("log_std")
    elif "log_std" in state:
        log_std = _head(state, "log_std", linear[-1])
    if "observation_mean" in state:
        mean, scale = state.take("observation_mean", 1), state.take("observation_scale", 1)
        clip = float(state.take("observation_clip", 0)) if "observation_clip" in state else np.inf
        statistics = Statistics(mean, scale, clip) if statistics is None else statistics
    if "action_centre" in state:
        centre, half_width = state.take("action_centre", 1), state.take("action_half_width", 1)
        require((half_width > 0).all(), what, ", 'action_half_width': expected positive numbers")
        action_box = ActionBox(centre, half_width) if action_box is None else action_box
    state.require_all_used()
    return Source(
        linear[:-1],
        linear[-1],
        policy_type.activations if len(linear) == len(policy_type.activations) + 1 else (None,) * (len(linear) - 1),
        policy_type.squash,
        log_std,
        ActionBox.read(action_box, policy_type.actions),
        world,
        Statistics.read(statistics),
    )


_SB3_ACTIVATIONS = {
    "ReLU": "relu",
    "ELU": "elu",
    "GELU": "gelu",
    "Mish": "mish",
    "Tanh": "tanh",
    "Identity": "identity",
}


def _limits(data, key, what):
    """Of a Box in the JSON of an SB3 zip, where arrays are NumPy's text."""
    space = data.get("action_space")
    require(isinstance(space, dict), what, ": expected the key 'action_space', found none")
    text = space.get(key)
    require(
        isinstance(text, str),
        what,
        ", 'action_space': expected a Box with '",
        key,
        "', found ",
        space.get(":type:", "none"),
    )
    require("..." not in text, what, ", 'action_space': its '", key, "' is cut short there: pass action_box=")
    try:
        return [float(number) for number in text.replace("[", " ").replace("]", " ").split()]
    except ValueError:
        raise Error(f"{what}, 'action_space': expected numbers in '{key}', found {text}") from None


def _read_sb3_zip(path):
    what = f"'{path}'"
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise Error(f"{what}: expected a file, found none") from None
    except (zipfile.BadZipFile, OSError):
        raise Error(f"{what}: expected a zip of Stable-Baselines3, found another file") from None
    with archive:
        try:
            members = {}
            for name in ("data", "policy.pth"):
                require(
                    name in archive.namelist(), what, ": expected the member '", name, "', found ", archive.namelist()
                )
                members[name] = archive.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise Error(f"{what}: expected a zip that is whole, found: {error}") from None
    try:
        data = json.loads(members["data"])
    except ValueError:
        raise Error(f"{what}, member 'data': expected JSON, found something else") from None
    require(isinstance(data, dict), what, ", member 'data': expected a JSON object, found ", type(data).__name__)
    what_weights = f"{what}, member 'policy.pth'"
    return data, _load_torch(io.BytesIO(members["policy.pth"]), what_weights), what


def _normalised(data, found, path):
    """What tells that a zip's model was trained on observations of a VecNormalize, or None. Its actor does not, and models
    with a replay buffer keep the last original observation in any case: for these its file beside the zip is all."""
    if data.get("_last_original_obs") is not None and "action_net.weight" in State(found, f"'{path}'"):
        return "'_last_original_obs'"
    beside = sorted(path.parent.glob("*vec*normalize*.pkl"))
    return f"'{beside[0]}'" if beside else None


def sb3(model, action_box=None, statistics=None, activation=None):
    """A zip that Stable-Baselines3 saved, by path, or a live model: SAC, TD3, DDPG, PPO or A2C (and those of sb3_contrib
    that keep their actors the same way) with an MlpPolicy."""
    if isinstance(model, (str, Path)):
        data, found, what = _read_sb3_zip(model)
        owner, kwargs = (
            data[key] if isinstance(data.get(key), dict) else {} for key in ("policy_class", "policy_kwargs")
        )
        module = str(owner.get("__module__", "none"))
        found_activation = kwargs.get("activation_fn")
        if found_activation is not None:
            match = re.search(r"([A-Za-z0-9_]+)'>", str(found_activation))
            found_activation = match.group(1) if match else str(found_activation)
        extractor = str(kwargs.get("features_extractor_class", "FlattenExtractor"))
        squashes = bool(kwargs.get("squash_output"))
        use_sde = bool(data.get("use_sde"))
        space = data.get("observation_space")
        space = str(space.get(":type:")) if isinstance(space, dict) else "none"
        normalised = _normalised(data, found, Path(model))
    else:
        policy = getattr(model, "policy", None)
        require(
            hasattr(policy, "state_dict"),
            "expected a path or a model of Stable-Baselines3, found ",
            type(model).__name__,
        )
        found, what, data = policy.state_dict(), type(model).__name__, {}
        module = type(policy).__module__
        found_activation = getattr(getattr(policy, "activation_fn", None), "__name__", None)
        if found_activation is None and hasattr(getattr(policy, "actor", None), "activation_fn"):
            found_activation = policy.actor.activation_fn.__name__
        squashes, use_sde = bool(getattr(policy, "squash_output", False)), bool(getattr(model, "use_sde", False))
        extractor = getattr(policy, "features_extractor_class", None)
        extractor = getattr(extractor, "__name__", "FlattenExtractor")
        space = str(type(model.observation_space))
        env = model.get_vec_normalize_env()
        normalised = env is not None and env.norm_obs
        if statistics is None and normalised:
            statistics = env
        if action_box is None:
            action_box = model.action_space
    require(
        module.startswith(("stable_baselines3.", "sb3_contrib.")),
        what,
        ", 'policy_class': expected a policy of Stable-Baselines3, found one of '",
        module,
        "': use add_policy with its layers",
    )
    require("Box" in space, what, ", 'observation_space': expected a Box, found ", space)
    require(
        "FlattenExtractor" in extractor,
        what,
        ", 'features_extractor_class': expected FlattenExtractor, found ",
        extractor,
    )
    require(
        statistics is not None or not normalised,
        what,
        f": expected statistics=, found none, while {normalised} tells that the model reads observations of a "
        "VecNormalize: pass statistics=VecNormalize.load(...), or a dict with mean and variance; False: it has none",
    )
    state = State(found, what)
    notes, log_std = [], None
    state.ignore("critic.", "critic_target.", "actor_target.", "mlp_extractor.value_net.", "value_net.")
    if "actor.latent_pi.0.weight" in state:
        require(
            not use_sde,
            what,
            ", 'use_sde': expected false, found true: the mean of such an actor is clipped before tanh",
        )
        layers = state.chain("actor.latent_pi.")
        mean, log_std = state.linear("actor.mu"), state.linear("actor.log_std")
        default, squash = "ReLU", "tanh"
    elif "actor.mu.0.weight" in state:
        *layers, mean = state.chain("actor.mu.")
        default, squash = "ReLU", "tanh"
    elif "action_net.weight" in state:
        require(not squashes, what, ", 'squash_output': expected false, found true")
        layers = state.chain("mlp_extractor.policy_net.")
        mean = state.linear("action_net")
        if use_sde and "log_std" in state:
            state.take("log_std", None)
            notes.append("'log_std': was dropped: with use_sde it is of noise that depends on hidden units")
        elif "log_std" in state:
            log_std = _head(state, "log_std", mean)
        default, squash = "Tanh", "clip"
    else:
        raise Error(
            f"{what}: expected the key 'actor.latent_pi.0.weight' (SAC), 'actor.mu.0.weight' (TD3) or "
            f"'action_net.weight' (PPO, A2C), found {state._names()}"
        )
    state.require_all_used()
    if action_box is None:
        action_box = tuple(_limits(data, key, what) for key in ("low", "high"))
    box = ActionBox.read(action_box, mean[1].size, f"{what}, 'action_space'")
    if activation is None:
        name = found_activation or default
        require(
            name in _SB3_ACTIVATIONS,
            what,
            ", 'activation_fn': expected one of ",
            sorted(_SB3_ACTIVATIONS),
            ", found ",
            name,
        )
        activation = _SB3_ACTIVATIONS[name]
    return _source(
        layers,
        mean,
        activation,
        squash,
        log_std=log_std,
        box=box,
        world=squash == "clip",
        statistics=Statistics.read(statistics),
        notes=notes,
    )


def _file_or_state(found):
    if isinstance(found, (str, Path)):
        what = f"'{found}'"
        require(Path(found).is_file(), what, ": expected a file, found none")
        return _load_torch(str(found), what), what
    return found, "state_dict"


def cleanrl(found, action_box=None, statistics=None):
    """The state_dict of a CleanRL actor (SAC, TD3, DDPG) or agent (PPO with continuous actions), or a .cleanrl_model file.
    PPO's holds neither action box nor statistics: both must be given (statistics=False: not normalised)."""
    found, what = _file_or_state(found)
    if isinstance(found, (tuple, list)) and found:  # SAC's and TD3's files: the actor, then critics
        found = found[0]
    state = State(found, what)
    if "actor_mean.0.weight" in state:
        *layers, mean = state.chain("actor_mean.")
        state.ignore("critic.")
        log_std = _head(state, "actor_logstd", mean)
        state.require_all_used()
        require(
            action_box is not None,
            what,
            ": expected action_box=, found none: actions are clipped to it by ClipAction",
        )
        require(
            statistics is not None,
            what,
            ": expected statistics= (of NormalizeObservation: mean, variance, clip 10), found none; False: not normalised",
        )
        box = ActionBox.read(action_box, mean[1].size)
        return _source(
            layers,
            mean,
            "tanh",
            "clip",
            log_std=log_std,
            box=box,
            world=True,
            statistics=Statistics.read(statistics),
        )
    layers, index, notes = [], 1, []
    while f"fc{index}.weight" in state:
        layers.append(state.linear(f"fc{index}"))
        index += 1
    require(layers, what, ": expected the key 'fc1.weight' or 'actor_mean.0.weight', found ", state._names())
    mean = state.linear("fc_mu" if "fc_mu.weight" in state else "fc_mean")
    if "fc_logstd.weight" in state:
        state.linear("fc_logstd")
        notes.append("'fc_logstd': was dropped: CleanRL squashes it with tanh, maa clamps its log_std")
    scale, bias = (state.take(key, None).reshape(-1) for key in ("action_scale", "action_bias"))
    state.require_all_used()
    for key, values in (("action_scale", scale), ("action_bias", bias)):
        require(values.size == mean[1].size, f"{what}, '{key}': expected {mean[1].size} numbers, found {values.size}")
    require((scale > 0).all(), what, ", 'action_scale': expected positive numbers, found ", scale.min())
    return _source(
        layers, mean, "relu", "tanh", box=ActionBox(bias, scale), statistics=Statistics.read(statistics), notes=notes
    )


def rsl_rl(found, activation="elu", clip_actions=None, statistics=None, epsilon=1e-2):
    """A checkpoint of rsl_rl, by path or loaded, or the state_dict of its actor: 1.0 to 5.5, normalised or not. Actions
    are the mean itself (squash none), or clipped to +- clip_actions as its environment wrappers do."""
    found, what = _file_or_state(found)
    normalizer = None
    if hasattr(found, "get"):
        if "actor_state_dict" in found:
            found, what = found["actor_state_dict"], f"{what}, 'actor_state_dict'"
        elif "model_state_dict" in found:
            normalizer = found.get("obs_norm_state_dict")
            found, what = found["model_state_dict"], f"{what}, 'model_state_dict'"
    state = State(found, what)
    state.ignore("critic.", "critic_obs_normalizer.")
    prefix = "mlp." if "mlp.0.weight" in state else "actor."
    *layers, mean = state.chain(prefix)
    require(layers, what, f": expected a hidden layer before '{prefix}0.weight', found none")
    log_std = None
    for key in ("std", "log_std", "distribution.std_param", "distribution.log_std_param"):
        if key in state:
            log_std = _head(state, key, mean, *([] if "log" in key else [_log(state, key)]))
    own = next((name for name in ("obs_normalizer.", "actor_obs_normalizer.") if name + "_mean" in state), None)
    if own is not None:
        normalizer, whose = state, f"{what}, '{own}"
    elif normalizer is not None:
        normalizer, own, whose = State(normalizer, "obs_norm_state_dict"), "", "'obs_norm_state_dict', '"
    if normalizer is not None:
        values = {key: normalizer.take(own + key, None).reshape(-1) for key in ("_mean", "_std")}
        normalizer.ignore(own + "_var", own + "count")
        if statistics is None:
            for key, numbers_ in values.items():
                size = layers[0][0].shape[1]
                require(numbers_.size == size, f"{whose}{key}': expected {size} numbers, found {numbers_.size}")
            statistics = Statistics.of_deviation(values["_mean"], values["_std"], epsilon)
    state.require_all_used()
    box = None
    if clip_actions is not None:
        limits = np.full(mean[1].size, float(clip_actions))
        box = ActionBox.read((-limits, limits), mean[1].size, "clip_actions")
    return _source(
        layers,
        mean,
        activation,
        "none" if box is None else "clip",
        log_std=log_std,
        box=box,
        world=True,
        statistics=Statistics.read(statistics),
    )
