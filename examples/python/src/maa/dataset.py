"""The writer of data sets (docs/formats.md): policies of runs, and trajectories of what they do."""

import os
import warnings
from pathlib import Path

import numpy as np

from . import _native, sources
from .errors import integer, require
from .policy_type import PolicyType
from .sources import ActionBox
from .statistics import Statistics
from .trajectory import Trajectory, record


class AddedPolicy:
    """A policy of a data set: `act`, as the framework that it is from computes it, and where it is from."""

    def __init__(self, source, task, run, step):
        self.source, self.task, self.run, self.step = source, task, run, step

    def act(self, observations):
        """observations [O] or [rows, O] -> actions, in the world's units."""
        return self.source.act(observations)


class Dataset:
    """Policies of one type (PolicyType; that of the package without one) and trajectories. All policies act in one
    action box. Runs may have observation statistics of their own: save() writes common ones, and folds the
    difference into the first layer (exact but for clipping)."""

    def __init__(self, policy_type=None):
        self.type = policy_type or PolicyType.built()
        self.policies = []
        self.trajectories = []
        self.metadata = {}  # for generated policies: joint_names (a list, or text with commas), period, ...
        self.provenance = {}  # free text
        self._own_interface = {}  # of a file without policies

    @staticmethod
    def load(path):
        """The file of one, by save() or by the C++ library. Policies have the type that it names, or that of the package."""
        return _read(path)

    def add_policy(self, state_dict, task, run, step=0, **how):
        """A state_dict of the policy type, with its names, or those of its linear layers as `layers`, the mean head last.
        Also: action_box=(low, high) or a Box space; world=True if its mean is in the world's units and not in the box's;
        statistics= (Statistics.read)."""
        return self._add(sources.plain(state_dict, self.type, **how), task, run, step)

    def add_sb3(self, model, task, run, step=0, **how):
        """A zip of Stable-Baselines3, or a live model (sources.sb3: action_box, statistics, activation)."""
        return self._add(sources.sb3(model, **how), task, run, step, f"'{model}'" if _is_path(model) else None)

    def add_cleanrl(self, model, task, run, step=0, **how):
        """A state_dict or file of CleanRL (sources.cleanrl: action_box, statistics)."""
        return self._add(sources.cleanrl(model, **how), task, run, step, f"'{model}'" if _is_path(model) else None)

    def add_rsl_rl(self, model, task, run, step=0, **how):
        """A checkpoint or state_dict of rsl_rl (sources.rsl_rl: activation, clip_actions, statistics)."""
        return self._add(sources.rsl_rl(model, **how), task, run, step, f"'{model}'" if _is_path(model) else None)

    def add_trajectory(self, trajectory):
        require(isinstance(trajectory, Trajectory), "expected a maa.Trajectory, found ", type(trajectory).__name__)
        require(trajectory.task, "trajectory: expected the name of its task, found none")
        for name, size in (("observations", self.type.observations), ("actions", self.type.actions)):
            found = getattr(trajectory, name).shape[1]
            require(found == size, "trajectory, ", name, ": expected ", size, " numbers per step, found ", found)
        self.trajectories.append(trajectory)

    def record(self, env, policy, episodes=1, task=None, run=None, **how):
        """Adds episodes of a policy, by default of its task and run (trajectory.record: noise, seed, success), and returns
        them. Of another actor (a function of observations): task, and run -1."""
        added = isinstance(policy, AddedPolicy)
        task = policy.task if task is None and added else task
        run = (policy.run if added else -1) if run is None else run
        require(task is not None, "record: expected the name of the task, found none")
        if hasattr(getattr(env, "action_space", None), "low"):  # a Box; record() says what else is wrong
            for name, size in (("observation_space", self.type.observations), ("action_space", self.type.actions)):
                shape = getattr(env, name).shape
                found = size if shape is None else int(np.prod(shape))
                require(found == size, "record: expected an ", name, " of ", size, " numbers, found ", found)
        trajectories = record(env, policy, episodes, task=task, run=run, **how)
        for trajectory in trajectories:
            self.add_trajectory(trajectory)
        return trajectories

    def save(self, path):
        tasks = list(dict.fromkeys([*(p.task for p in self.policies), *(t.task for t in self.trajectories)]))
        require(tasks, "dataset: expected policies or trajectories, found none")
        number = {task: i for i, task in enumerate(tasks)}
        tensors = self._interface()
        if self.policies:
            common = self._common()
            tensors["weights"] = np.stack([self._flat(policy.source, common) for policy in self.policies])
            for key in ("task", "run", "step"):
                values = [number[p.task] if key == "task" else getattr(p, key) for p in self.policies]
                tensors["policy_" + key] = np.array(values, np.int64)
        steps = self.trajectories

        def integers(of):
            return np.array([of(t) for t in steps], np.int64)

        def rows(of, size):
            parts = [of(t) for t in steps if of(t) is not None]
            return np.concatenate(parts) if parts else np.zeros((0, size), np.float32)

        tensors["trajectory_length"] = integers(lambda t: len(t.observations))
        tensors["trajectory_task"] = integers(lambda t: number[t.task])
        tensors["trajectory_run"] = integers(lambda t: t.run)
        tensors["trajectory_success"] = integers(lambda t: -1 if t.success_step is None else t.success_step)
        tensors["trajectory_has_targets"] = integers(lambda t: t.target_actions is not None)
        tensors["observations"] = rows(lambda t: t.observations, self.type.observations)
        tensors["actions"] = rows(lambda t: t.actions, self.type.actions)
        tensors["target_actions"] = rows(lambda t: t.target_actions, self.type.actions)
        metadata = {"format": "maa.dataset", "task_count": str(len(tasks))}
        metadata.update({f"task.{i}": task for i, task in enumerate(tasks)})
        metadata.update({f"interface.{key}": _text(value) for key, value in self.metadata.items()})
        metadata.update(self.type.metadata())
        metadata.update({f"provenance.{key}": str(value) for key, value in self.provenance.items()})
        from safetensors.numpy import save

        new = Path(f"{path}.{os.getpid()}.tmp")
        try:
            new.write_bytes(save({name: np.asarray(values, order="C") for name, values in tensors.items()}, metadata))
            os.replace(new, path)
        finally:
            new.unlink(missing_ok=True)

    def interface(self):
        """Observation scaling and action box as Policy takes them, those that there are."""
        return {key.removeprefix("interface."): values for key, values in self._interface().items()}

    def weights(self, policy):
        """The flat weights [P] of one of its policies, as save() writes them: for observations through interface()."""
        return self._flat(policy.source, self._common())

    def _add(self, source, task, run, step, where=None):
        of = f"{where or f'policy of run {run}'}: "
        kind = self.type
        found = tuple(weight.shape[0] for weight, _ in source.layers)
        inputs = source.layers[0][0].shape[1]
        require(inputs == kind.observations, of, "expected ", kind.observations, " observations, found ", inputs)
        require(found == kind.hidden, of, "expected hidden layers of ", kind.hidden, " units, found ", found)
        sizes = (kind.observations, *kind.hidden)
        for i, (weight, _) in enumerate(source.layers):
            require(
                weight.shape[1] == sizes[i],
                of,
                "layer ",
                i,
                ": expected ",
                sizes[i],
                " inputs, found ",
                weight.shape[1],
            )
        for name, head in (("mean", source.mean), ("log_std", source.log_std)):
            if head is not None:
                shape = (kind.actions, sizes[-1])
                require(
                    head[0].shape == shape,
                    of,
                    name,
                    ": expected a weight of shape ",
                    shape,
                    ", found ",
                    head[0].shape,
                )
        require(
            source.activations == kind.activations,
            of,
            "activations: expected ",
            kind.activations,
            ", found ",
            source.activations,
        )
        require(source.squash == kind.squash, of, "squash: expected ", kind.squash, ", found ", source.squash)
        require(
            not kind.has_log_std or source.log_std is not None,
            of,
            "heads: expected a log_std head, found none: use a policy type with heads mean",
        )
        if source.statistics is not None:
            size = source.statistics.mean.size
            require(
                size == kind.observations, of, "statistics: expected ", kind.observations, " numbers, found ", size
            )
        box = source.box or ActionBox.unit(kind.actions)
        require(
            source.box is None or box.centre.size == kind.actions,
            of,
            "action_box: expected ",
            kind.actions,
            " numbers",
        )
        if self.policies:
            first = self.policies[0].source.box or ActionBox.unit(kind.actions)
            require(
                box.same(first),
                of,
                "action_box: expected that of the policies before it, ",
                first.text(),
                ", found ",
                box.text(),
            )
        notes = list(source.notes)
        if source.log_std is not None and not kind.has_log_std:
            notes.append("log_std was dropped: the policy type has heads mean (mean_and_log_std carries it)")
        elif kind.has_log_std and not source.log_std[0].any():
            vector = source.boxed().log_std[1]
            if vector.min() < -20 or vector.max() > 2:
                notes.append(f"log_std: is clamped to [-20, 2] in sampling, found {vector} in the action box's units")
        for note in notes:
            if note not in self.provenance.values():
                self.provenance[f"note_{sum(key.startswith('note_') for key in self.provenance)}"] = note
                warnings.warn(f"{of}{note}", stacklevel=3)
        policy = AddedPolicy(source, str(task), integer(run, of, "run"), integer(step, of, "step"))
        self.policies.append(policy)
        return policy

    def _common(self):
        """Statistics of all policies; None without any."""
        with_them = [policy for policy in self.policies if policy.source.statistics is not None]
        if not with_them:
            return None
        for policy in self.policies:
            require(
                policy.source.statistics is not None,
                f"policy of task '{policy.task}', run {policy.run}, step {policy.step}: expected statistics as the others "
                "have them, found none: pass statistics=",
            )
        return Statistics.common([policy.source.statistics for policy in self.policies])

    def _interface(self):
        if not self.policies:
            return dict(self._own_interface)
        result = {}
        common = self._common()
        if common is not None:
            result["interface.observation_mean"] = common.mean.astype(np.float32)
            result["interface.observation_scale"] = common.scale.astype(np.float32)
            if np.isfinite(common.clip):
                result["interface.observation_clip"] = np.array(common.clip, np.float32)
        box = self.policies[0].source.box
        if box is not None and not box.same(ActionBox.unit(self.type.actions)):
            result["interface.action_centre"] = box.centre
            result["interface.action_half_width"] = box.half_width
        return result

    def _flat(self, source, common):
        source = source.boxed()
        own = source.statistics
        (weight, bias), *rest = source.layers
        if own is not None and not own.same(common):
            # (x - own.mean) own.scale, from (x - common.mean) common.scale
            weight = weight.astype(np.float64)
            bias = bias + weight @ ((common.mean - own.mean) * own.scale)
            weight = weight * (own.scale / common.scale)
        linear = [(weight, bias), *rest, source.mean]
        if self.type.has_log_std:
            linear.append(source.log_std)
        return np.concatenate([part.reshape(-1) for pair in linear for part in pair]).astype(np.float32)


def _read(path):
    from safetensors import safe_open

    what = f"'{path}': "
    _native.require_dataset(path)  # every size, dtype and number
    with safe_open(path, "numpy") as file:
        texts = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}

    def of(prefix, found=texts):
        return {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}

    names, interface, shape = of("task."), of("interface.", tensors), of("policy.")
    dataset = Dataset(PolicyType.read(shape, what) if shape else None)
    dataset.metadata, dataset.provenance = of("interface."), of("provenance.")
    if "weights" in tensors and len(tensors["weights"]) > 0:
        numbers = zip(tensors["policy_task"], tensors["policy_run"], tensors["policy_step"])
        for row, (weights, (of_task, run, step)) in enumerate(zip(tensors["weights"], numbers)):
            state = {**dataset.type.split(weights), **interface}
            dataset.add_policy(state, names[str(of_task)], run, step, what=f"{what}policy {row}")
    else:
        dataset._own_interface = {f"interface.{name}": values for name, values in interface.items()}
    starts = np.cumsum(tensors["trajectory_length"])[:-1]
    observations, actions = np.split(tensors["observations"], starts), np.split(tensors["actions"], starts)
    has_targets = tensors.get("trajectory_has_targets", np.zeros(len(observations), np.int64))
    lengths = tensors["trajectory_length"][has_targets != 0]
    targets = iter(np.split(tensors["target_actions"], np.cumsum(lengths)[:-1]) if len(lengths) else ())
    for row, success in enumerate(tensors["trajectory_success"]):
        dataset.add_trajectory(
            Trajectory(
                observations[row],
                actions[row],
                next(targets) if has_targets[row] else None,
                int(success) if success >= 0 else None,
                names[str(tensors["trajectory_task"][row])],
                int(tensors["trajectory_run"][row]),
            )
        )
    return dataset


def _text(value):
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _is_path(model):
    return isinstance(model, (str, Path))
