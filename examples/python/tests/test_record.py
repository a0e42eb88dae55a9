"""Episodes of a gymnasium environment become trajectories of the data set."""

import numpy as np
import pytest
from conftest import kind, mlp

import maa

gymnasium = pytest.importorskip("gymnasium")


class Line(gymnasium.Env):
    """A point on a line that is pushed; success when it passes 1, at which the episode ends."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = gymnasium.spaces.Box(np.array([-1.0], np.float32), np.array([3.0], np.float32))

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.place = 0, self.np_random.uniform(-0.1, 0.1)
        return self.observation(), {}

    def observation(self):
        return np.array([self.place, self.steps, 1.0])

    def step(self, action):
        assert self.action_space.contains(action), action
        self.steps += 1
        self.place += 0.1 * float(action[0])
        done = self.place > 1
        return self.observation(), 0.0, done, self.steps >= 20, {"is_success": done, "near": self.place > 0.5}


def steady(observation):
    assert observation.shape == (3,) and observation.dtype == np.float32
    return np.array([2.5])


def test_an_episode():
    first, second = maa.record(Line(), steady, episodes=2, task="push", run=4, seed=3)
    assert first.observations.shape == (5, 3) or first.observations.shape == (4, 3)
    assert np.array_equal(first.observations[:, 1], np.arange(len(first.observations)))
    assert np.allclose(np.diff(first.observations[:, 0]), 0.25)
    assert (first.actions == 2.5).all() and first.target_actions is None
    assert (first.success_step, first.task, first.run) == (len(first.actions) - 1, "push", 4)
    assert second.observations[0, 0] != first.observations[0, 0]
    again = maa.record(Line(), steady, episodes=2, task="push", run=4, seed=3)[1]
    assert np.array_equal(again.observations, second.observations)
    (near,) = maa.record(Line(), steady, success="near")
    assert near.success_step < first.success_step
    (never,) = maa.record(Line(), lambda _: [0.0], success=lambda info, reward: reward > 0)
    assert len(never.actions) == 20 and never.success_step is None


def test_noise():
    (noisy,) = maa.record(Line(), lambda _: [1.0], noise=0.25, seed=1)
    assert (noisy.target_actions == 1).all()
    assert noisy.actions.std() > 0.2 and np.abs(noisy.actions - 1).max() < 2
    (clipped,) = maa.record(Line(), steady, noise=0.5, seed=1)
    assert clipped.actions.max() == 3.0 and (clipped.target_actions == 2.5).all()


def test_of_added_policies(tmp_path):
    dataset = maa.Dataset(kind())
    state = mlp(1, ["layers.0", "layers.1", "mean"])
    policy = dataset.add_policy(state, task="push", run=7, action_box=Line.action_space)
    (trajectory,) = dataset.record(Line(), policy)
    assert (trajectory.task, trajectory.run) == ("push", 7)
    assert np.allclose(trajectory.actions, policy.act(trajectory.observations), atol=1e-6)
    (other,) = dataset.record(Line(), steady, task="push")
    assert other.run == -1
    assert dataset.trajectories == [trajectory, other]
    trajectory.save(tmp_path / "one.npz")
    loaded = maa.Trajectory.load(tmp_path / "one.npz")
    assert all(
        np.array_equal(getattr(loaded, name), getattr(trajectory, name))
        for name in ("observations", "actions", "success_step", "task", "run")
    )


def test_safetensors(tmp_path):
    from safetensors.numpy import save_file

    tensors = {"observations": np.ones((4, 3), np.float32), "actions": np.zeros((4, 1), np.float32)}
    save_file({**tensors, "success": np.array([2])}, tmp_path / "one.safetensors", {"task": "push", "run": "3"})
    loaded = maa.Trajectory.load(tmp_path / "one.safetensors")
    assert (loaded.task, loaded.run, loaded.success_step) == ("push", 3, 2) and (loaded.observations == 1).all()
    (tmp_path / "text.safetensors").write_text("text")
    with pytest.raises(maa.Error, match="expected a trajectory as .safetensors"):
        maa.Trajectory.load(tmp_path / "text.safetensors")


class Keyed(Line):
    def observation(self):
        return {"place": self.place}


def test_refused(tmp_path):
    dataset = maa.Dataset(kind())
    for message, env, policy in [
        ("expected one gymnasium environment, found SyncVectorEnv", gymnasium.vector.SyncVectorEnv([Line]), steady),
        ("found NormalizeObservation", gymnasium.wrappers.NormalizeObservation(Line()), steady),
        ("expected observations of one array, found dict", Keyed(), steady),
        ("expected 1 actions, found 2", Line(), lambda _: [0.0, 1.0]),
        ("expected actions of a Box", gymnasium.make("CartPole-v1"), steady),
        ("expected an observation_space of 3 numbers, found 2", gymnasium.make("MountainCarContinuous-v0"), steady),
    ]:
        with pytest.raises(maa.Error, match=message):
            dataset.record(env, policy, task="push")
    for low, high in ([-1.5], [2.0]), ([-1.0], [3.1]):
        policy = maa.Dataset(kind()).add_policy(mlp(1, ["layers.0", "layers.1", "mean"]), "push", 0, action_box=(low, high))
        with pytest.raises(maa.Error, match="expected an environment that takes the policy's actions, .* found .* to"):
            dataset.record(Line(), policy)
    policy = dataset.add_policy(mlp(1, ["layers.0", "layers.1", "mean"]), "push", 0, action_box=([-0.5], [1.0]))
    dataset.record(Line(), policy)  # as with a limit of its own
    with pytest.raises(maa.Error, match="expected the name of the task"):
        dataset.record(Line(), steady)
    with pytest.raises(maa.Error, match="observations: expected 3 numbers per step, found 2"):
        dataset.add_trajectory(maa.Trajectory(np.zeros((4, 2)), np.zeros((4, 1)), task="push"))
    for message, arguments in [
        ("expected 4 actions, found 3", (np.zeros((4, 3)), np.zeros((3, 1)))),
        ("found NaN", (np.full((4, 3), np.nan), np.zeros((4, 1)))),
        ("target_actions: expected shape", (np.zeros((4, 3)), np.zeros((4, 1)), np.zeros((4, 2)))),
        ("expected a success_step below 4", (np.zeros((4, 3)), np.zeros((4, 1)), None, 4)),
        ("success_step: expected an integer, found 2.5", (np.zeros((4, 3)), np.zeros((4, 1)), None, 2.5)),
        ("task: expected text, found 5", (np.zeros((4, 3)), np.zeros((4, 1)), None, 2, 5)),
        ("run: expected an integer, found None", (np.zeros((4, 3)), np.zeros((4, 1)), None, 2, "", None)),
    ]:
        with pytest.raises(maa.Error, match=message):
            maa.Trajectory(*arguments)
    np.savez(tmp_path / "pickled.npz", observations=np.array([{}], object), actions=np.zeros((1, 1)))
    with pytest.raises(maa.Error, match="expected a trajectory as .npz"):
        maa.Trajectory.load(tmp_path / "pickled.npz")
    for message, more in [
        ("'success': expected a flag per step", {"success": np.array([2, 0, 1, 0])}),
        ("'success': expected a flag per step", {"success": np.array(False)}),
        ("'success': expected a flag per step", {"success": np.array("yes")}),
        ("'run': expected one whole number", {"run": np.array([1, 2])}),
    ]:
        np.savez(tmp_path / "odd.npz", observations=np.zeros((4, 3)), actions=np.zeros((4, 1)), **more)
        with pytest.raises(maa.Error, match=message):
            maa.Trajectory.load(tmp_path / "odd.npz")
    np.savez(tmp_path / "half.npz", observations=np.zeros((1, 3)))
    with pytest.raises(maa.Error, match="expected the array 'actions'"):
        maa.Trajectory.load(tmp_path / "half.npz")


def test_what_is_no_actor():
    class Model:
        def predict(self, observation):
            return observation, None

    with pytest.raises(maa.Error, match="expected what add_... gave, or a function of observations, found Model"):
        maa.record(Line(), Model())
    with pytest.raises(maa.Error, match="expected actions of the policy, found"):
        maa.record(Line(), lambda x: (np.zeros(2), None))
