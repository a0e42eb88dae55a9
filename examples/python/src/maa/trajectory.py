"""Trajectories, and episodes recorded from a gymnasium environment."""

import operator
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import Error, integer, require


def _matrix(values, what):
    try:
        result = np.ascontiguousarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise Error(f"trajectory, {what}: expected numbers, found {type(values).__name__}") from None
    require(result.ndim == 2, "trajectory, ", what, ": expected 2 dimensions, found shape ", result.shape)
    require(np.isfinite(result).all(), "trajectory, ", what, ": expected finite numbers, found NaN or infinity")
    return result


@dataclass(eq=False)
class Trajectory:
    """What an agent saw and did, in the world's units: observations [T, O], actions [T, A] as executed, target_actions
    [T, A] without exploration noise, or None. success_step: the first step that succeeded, None: none, or unknown.
    run: the training run of who acted; -1: of no policy's run."""

    observations: np.ndarray
    actions: np.ndarray
    target_actions: np.ndarray | None = None
    success_step: int | None = None
    task: str = ""
    run: int = -1

    def __post_init__(self):
        self.observations = _matrix(self.observations, "observations")
        self.actions = _matrix(self.actions, "actions")
        self.run = integer(self.run, "trajectory, ", "run")
        require(isinstance(self.task, str), "trajectory, task: expected text, found ", repr(self.task))
        steps = len(self.observations)
        require(steps > 0, "trajectory: expected at least one step, found none")
        require(len(self.actions) == steps, "trajectory: expected ", steps, " actions, found ", len(self.actions))
        if self.target_actions is not None:
            self.target_actions = _matrix(self.target_actions, "target_actions")
            require(
                self.target_actions.shape == self.actions.shape,
                "trajectory, target_actions: expected shape ",
                self.actions.shape,
                ", found ",
                self.target_actions.shape,
            )
        if self.success_step is not None:
            self.success_step = integer(self.success_step, "trajectory, ", "success_step")
            require(
                0 <= self.success_step < steps,
                "trajectory: expected a success_step below ",
                steps,
                ", found ",
                self.success_step,
            )

    @staticmethod
    def load(path):
        """An .npz or .safetensors as docs/formats.md has it."""
        found = _safetensors(path) if Path(path).suffix == ".safetensors" else _npz(path)
        for name in ("observations", "actions"):
            require(name in found, "'", path, "': expected the array '", name, "', found ", sorted(found))
        success = found.get("success")
        if success is not None:
            success = success.reshape(-1)
            flags = success.dtype == bool or success.size > 1
            fits = success.dtype.kind in "biuf" and (
                success.size == len(found["actions"]) and np.isin(success, (0, 1)).all()
                if flags
                else success.size == 1 and success[0] == np.round(success[0])
            )
            require(fits, "'", path, "', array 'success': expected a flag per step, or one whole number")
            if flags:
                success = int(np.argmax(success)) if success.any() else None
            else:
                success = int(success[0]) if success[0] >= 0 else None
        return Trajectory(
            found["observations"],
            found["actions"],
            found.get("target_actions"),
            success,
            str(found.get("task", "")),
            _one(found.get("run", 0), path, "run"),
        )

    def save(self, path):
        require(Path(path).suffix == ".npz", "'", path, "': expected a name ending in .npz")
        arrays = {"observations": self.observations, "actions": self.actions}
        if self.target_actions is not None:
            arrays["target_actions"] = self.target_actions
        success = -1 if self.success_step is None else self.success_step
        np.savez(path, **arrays, success=np.int64(success), run=np.int64(self.run), task=np.array(self.task))


def _npz(path):
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as error:
        reason = "another kind of file" if "pickle" in str(error) else error
        raise Error(f"'{path}': expected a trajectory as .npz, found: {reason}") from None


def _safetensors(path):
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}
            texts = file.metadata() or {}
    except (OSError, TypeError, SafetensorError) as error:
        raise Error(f"'{path}': expected a trajectory as .safetensors, found: {error}") from None
    return {**{key: texts[key] for key in ("task", "run") if key in texts}, **found}


def _one(value, path, name):
    """The whole number of an array of one, or of text."""
    try:
        return operator.index(int(value) if isinstance(value, str) else np.asarray(value).item())
    except (TypeError, ValueError):
        raise Error(f"'{path}', array '{name}': expected one whole number, found {value!r}") from None


def _layers(env):
    while env is not None:
        yield env
        env = getattr(env, "env", None)


def _vector(found):
    try:
        return np.asarray(found, dtype=np.float32).reshape(-1)
    except (TypeError, ValueError):
        raise Error(f"record: expected actions of the policy, found {found!r}") from None


def record(env, policy, episodes=1, noise=0.0, seed=0, task="", run=-1, success="is_success"):
    """Episodes of `policy` (a function of observations, or an object with `act`) in a gymnasium environment whose
    observations and actions are in the world's units. `noise`: standard deviation of what is added to its actions, in
    halves of the action box; what it would have done without is then in target_actions. Episode i is seeded with
    seed + i. `success`: the key of `info` that tells of it, or a function of (info, reward)."""
    require(
        hasattr(env, "action_space") and hasattr(env, "reset") and not hasattr(env, "num_envs"),
        "record: expected one gymnasium environment, found ",
        type(env).__name__,
    )
    for layer in _layers(env):
        require(
            type(layer).__name__ != "NormalizeObservation",
            "record: expected an environment whose observations are in the world's units, found NormalizeObservation: "
            "give its statistics to add_... and record without it",
        )
    low, high = (getattr(env.action_space, name, None) for name in ("low", "high"))
    require(low is not None, "record: expected actions of a Box, found ", env.action_space)
    require(noise >= 0, "record: expected noise of at least 0, found ", noise)
    half = np.where(np.isfinite(high - low), 0.5 * (high - low), 1.0).reshape(-1)
    require(
        hasattr(policy, "act") or callable(policy),
        "record: expected what add_... gave, or a function of observations, found ",
        type(policy).__name__,
    )
    box = getattr(getattr(policy, "source", None), "box", None)
    if box is not None:
        # Within it, as far as float32 tells: beyond, what it does would be cut off.
        least, most = np.reshape(low, -1), np.reshape(high, -1)
        fits = least.size == box.centre.size and (
            (box.centre - box.half_width >= least - 1e-5 * box.half_width).all()
            and (box.centre + box.half_width <= most + 1e-5 * box.half_width).all()
        )
        require(
            fits, "record: expected an environment that takes the policy's actions, ", box.text(), ", found ", low, " to ", high
        )
    act = policy.act if hasattr(policy, "act") else policy
    succeeded = success if callable(success) else lambda info, reward: info.get(success, False)
    draw = np.random.default_rng(seed)
    result = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed + episode)
        rows, done_actions, targets, first, over = [], [], [], None, False
        while not over:
            require(
                isinstance(observation, np.ndarray),
                "record: expected observations of one array, found ",
                type(observation).__name__,
                ": wrap the environment in gymnasium.wrappers.FlattenObservation",
            )
            seen = observation.astype(np.float32).reshape(-1)
            target = _vector(act(seen))
            require(target.size == half.size, "record: expected ", half.size, " actions, found ", target.size)
            action = target + noise * half * draw.standard_normal(half.size) if noise > 0 else target
            action = np.clip(action.reshape(low.shape), low, high).astype(env.action_space.dtype)
            observation, reward, terminated, truncated, info = env.step(action)
            rows.append(seen)
            done_actions.append(action.reshape(-1))
            targets.append(target)
            over = bool(terminated or truncated)
            if first is None and succeeded(info, reward):
                first = len(rows) - 1
        result.append(
            Trajectory(
                np.stack(rows), np.stack(done_actions), np.stack(targets) if noise > 0 else None, first, task, run
            )
        )
    return result
