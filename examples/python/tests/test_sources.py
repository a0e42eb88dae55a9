"""What is imported acts as its source: by its framework's formula (written here), in the file that is written, and,
for the type that the package was built for, in the compiled policy."""

import os
import warnings

import numpy as np
import pytest
from conftest import HIDDEN, acts, kind, linear, mlp, sb3_data, sb3_state, write_zip

import maa

rng = np.random.default_rng(5)
OBSERVATIONS = rng.uniform(-1, 1, (500, 3)) * [1, 1, 2]


def layers_of(state, names, x, activation):
    for i, name in enumerate(names):
        x = x @ state[name + ".weight"].T.astype(np.float64) + state[name + ".bias"]
        x = activation(x) if i + 1 < len(names) else x
    return x


def relu(x):
    return np.maximum(x, 0)


def elu(x):
    return np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)


def check(dataset, tmp_path, row, expected, tolerance=1e-6):
    """The added policy, the file and the compiled policy all act as expected."""
    policy = dataset.policies[row]
    assert np.abs(policy.act(OBSERVATIONS) - expected).max() <= tolerance
    path = tmp_path / "dataset.safetensors"
    dataset.save(path)
    found = acts(path, row, OBSERVATIONS)(dataset.type.activations[0], dataset.type.squash)
    assert np.abs(found - expected).max() <= tolerance
    if dataset.type == maa.PolicyType.built():
        native = maa.Policy(dataset.weights(policy), **dataset.interface())
        assert np.abs(native.act(OBSERVATIONS) - expected).max() <= tolerance
        assert max(np.abs(native.act(x) - y).max() for x, y in zip(OBSERVATIONS, expected)) <= tolerance


@pytest.mark.parametrize("algorithm", ["SAC", "TD3"])
def test_squashed_sb3(algorithm, tmp_path, read_numpy):
    state = sb3_state(algorithm, 1)
    write_zip(tmp_path / "model.zip", sb3_data(algorithm, low="[-1.5]", high="[2.5]"), state)
    dataset = maa.Dataset(kind())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.add_sb3(tmp_path / "model.zip", task="up", run=3, step=70)
    names = ["actor.latent_pi.0", "actor.latent_pi.2", "actor.mu"]
    names = names if algorithm == "SAC" else ["actor.mu.0", "actor.mu.2", "actor.mu.4"]
    squashed = np.tanh(layers_of(state, names, OBSERVATIONS, relu))
    check(dataset, tmp_path, 0, -1.5 + 0.5 * (squashed + 1) * 4.0)  # unscale_action


def test_clipped_sb3(tmp_path, read_numpy):
    state = sb3_state("PPO", 2)
    state["action_net.weight"] *= 3
    write_zip(tmp_path / "model.zip", sb3_data("PPO", low="[-1.5]", high="[2.5]"), state)
    dataset = maa.Dataset(kind("clip", "tanh"))
    with pytest.warns(UserWarning, match="log_std was dropped: the policy type has heads mean"):
        dataset.add_sb3(tmp_path / "model.zip", task="up", run=0)
    names = ["mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net"]
    mean = layers_of(state, names, OBSERVATIONS, np.tanh)
    assert (mean < -1.5).any() and (mean > 2.5).any()
    check(dataset, tmp_path, 0, np.clip(mean, -1.5, 2.5))


def test_other_activation_of_sb3(tmp_path, read_numpy):
    state = sb3_state("PPO", 2)
    write_zip(tmp_path / "model.zip", sb3_data("PPO", activation="elu"), state)
    dataset = maa.Dataset(kind("clip", "elu"))
    with pytest.warns(UserWarning):
        dataset.add_sb3(tmp_path / "model.zip", task="up", run=0)
    names = ["mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net"]
    check(dataset, tmp_path, 0, np.clip(layers_of(state, names, OBSERVATIONS, elu), -2, 2))


def test_runs_with_statistics_of_their_own(tmp_path, read_numpy):
    """Common statistics in the file, the difference in the first layer; far from the clip the actions are the source's."""
    dataset, expected = maa.Dataset(kind()), []
    for run in range(3):
        state = sb3_state("TD3", run)
        write_zip(tmp_path / "model.zip", sb3_data("TD3", _last_original_obs={":type:": "ndarray"}), state)
        mean = np.array([0.1, -0.2, 0.5]) * run
        variance = np.array([0.5, 0.6, 20]) * (1 + 0.3 * run)
        statistics = {"mean": mean, "variance": variance, "epsilon": 1e-8, "clip": 10.0}
        dataset.add_sb3(tmp_path / "model.zip", task="up", run=run, statistics=statistics)
        x = np.clip((OBSERVATIONS - mean) / np.sqrt(variance + 1e-8), -10, 10)
        expected.append(2 * np.tanh(layers_of(state, ["actor.mu.0", "actor.mu.2", "actor.mu.4"], x, relu)))
    assert dataset.interface()["observation_clip"] == 10
    for row in range(3):
        check(dataset, tmp_path, row, expected[row])


def test_equal_statistics_leave_weights_alone(tmp_path, read_numpy):
    dataset = maa.Dataset(kind())
    for run in range(2):
        write_zip(tmp_path / "model.zip", sb3_data("TD3"), sb3_state("TD3", run))
        statistics = {"mean": [0, 1, 2], "variance": [1, 2, 3], "clip": 5}
        policy = dataset.add_sb3(tmp_path / "model.zip", task="up", run=run, statistics=statistics)
    first = dataset.type.split(dataset.weights(policy))["layers.0.weight"]
    assert np.array_equal(first, sb3_state("TD3", 1)["actor.mu.0.weight"])
    statistics["clip"] = 0.5  # clips
    clipped = maa.Dataset(kind())
    state = sb3_state("TD3", 1)
    clipped.add_sb3(tmp_path / "model.zip", task="up", run=0, statistics=statistics)
    x = np.clip((OBSERVATIONS - [0, 1, 2]) / np.sqrt(np.array([1, 2, 3]) + 1e-8), -0.5, 0.5)
    names = ["actor.mu.0", "actor.mu.2", "actor.mu.4"]
    check(clipped, tmp_path, 0, 2 * np.tanh(layers_of(state, names, x, relu)))


def test_cleanrl(tmp_path):
    box = {"action_scale": np.array([[2.0]], np.float32), "action_bias": np.array([[0.5]], np.float32)}
    state = {**mlp(3, ["fc1", "fc2", "fc_mean"]), **linear(rng, "fc_logstd", HIDDEN[-1], 1), **box}
    dataset = maa.Dataset(kind())
    with pytest.warns(UserWarning, match="fc_logstd"):
        dataset.add_cleanrl(state, task="up", run=0)
    check(dataset, tmp_path, 0, 0.5 + 2 * np.tanh(layers_of(state, ["fc1", "fc2", "fc_mean"], OBSERVATIONS, relu)))
    td3 = {**mlp(4, ["fc1", "fc2", "fc_mu"]), **box}
    dataset.add_cleanrl(td3, task="up", run=1)
    check(dataset, tmp_path, 1, 0.5 + 2 * np.tanh(layers_of(td3, ["fc1", "fc2", "fc_mu"], OBSERVATIONS, relu)))


def test_cleanrl_ppo(tmp_path):
    names = ["actor_mean.0", "actor_mean.2", "actor_mean.4"]
    state = {**mlp(3, names), **linear(rng, "critic.0", 3, 64), "actor_logstd": np.zeros((1, 1), np.float32)}
    dataset = maa.Dataset(kind("clip", "tanh"))
    statistics = {"mean": [0, 0, 1], "variance": [0.5, 0.5, 9], "clip": 10}
    with pytest.warns(UserWarning, match="log_std was dropped"):
        dataset.add_cleanrl(state, task="up", run=0, action_box=([-0.5], [0.25]), statistics=statistics)
    x = (OBSERVATIONS - [0, 0, 1]) / np.sqrt(np.array([0.5, 0.5, 9]) + 1e-8)
    check(dataset, tmp_path, 0, np.clip(layers_of(state, names, x, np.tanh), -0.5, 0.25))
    for missing in ("action_box", "statistics"):
        given = {"action_box": ([-0.5], [0.25]), "statistics": False}
        del given[missing]
        with pytest.raises(maa.Error, match=missing):
            dataset.add_cleanrl(state, task="up", run=0, **given)


MEAN, DEVIATION = np.array([[0.1, 0.2, -1]], np.float32), np.array([[0.5, 0.4, 3]], np.float32)


def rsl_rl_checkpoints():
    """name -> (checkpoint, its actor's layers, whether it is normalised), as versions have them."""
    critic, deviation = linear(rng, "critic.0", 3, 64), {"std": np.ones(1, np.float32)}

    def normalizer(prefix):
        values = {"_mean": MEAN, "_var": DEVIATION**2, "_std": DEVIATION, "count": np.array(100)}
        return {prefix + key: value for key, value in values.items()}

    first = mlp(6, ["actor.0", "actor.2", "actor.4"])
    last = mlp(6, ["mlp.0", "mlp.2", "mlp.4"])
    old = {**first, **critic, **deviation}
    return {
        "1": ({"model_state_dict": old, "optimizer_state_dict": {}, "iter": 5}, first, False),
        "2": ({"model_state_dict": old, "obs_norm_state_dict": normalizer("")}, first, True),
        "3": (
            {
                "model_state_dict": {
                    **old,
                    **normalizer("actor_obs_normalizer."),
                    **normalizer("critic_obs_normalizer."),
                }
            },
            first,
            True,
        ),
        "5": (
            {
                "actor_state_dict": {**last, **normalizer("obs_normalizer."), "distribution.std_param": np.ones(1)},
                "critic_state_dict": {},
            },
            last,
            True,
        ),
        "state_dict": (old, first, False),
    }


@pytest.mark.parametrize("version", rsl_rl_checkpoints())
def test_rsl_rl(version, tmp_path):
    checkpoint, layers, normalised = rsl_rl_checkpoints()[version]
    dataset = maa.Dataset(kind("none", "elu"))
    with pytest.warns(UserWarning, match="was dropped"):
        dataset.add_rsl_rl(checkpoint, task="up", run=0)
    x = (OBSERVATIONS - MEAN) / (DEVIATION + 1e-2) if normalised else OBSERVATIONS
    names = list(dict.fromkeys(key.rsplit(".", 1)[0] for key in layers))
    expected = layers_of(layers, names, x, elu)
    check(dataset, tmp_path, 0, expected)
    clipped = maa.Dataset(kind("clip", "elu"))
    with pytest.warns(UserWarning):
        clipped.add_rsl_rl(checkpoint, task="up", run=0, clip_actions=0.3)
    check(clipped, tmp_path, 0, np.clip(expected, -0.3, 0.3))


def test_plain(tmp_path):
    state = mlp(8, ["layers.0", "layers.1", "mean"])
    dataset = maa.Dataset(kind())
    dataset.add_policy(state, task="up", run=0, action_box=([-3.0], [3.0]))
    names = ["layers.0", "layers.1", "mean"]
    check(dataset, tmp_path, 0, 3 * np.tanh(layers_of(state, names, OBSERVATIONS, relu)))
    names = ["net.0", "net.3", "out"]
    other = mlp(9, names)
    dataset.add_policy(other, task="down", run=0, layers=names, action_box=([-3.0], [3.0]))
    check(dataset, tmp_path, 1, 3 * np.tanh(layers_of(other, names, OBSERVATIONS, relu)))


def umask():
    now = os.umask(0)
    os.umask(now)
    return now


def same_files(one, other):
    from safetensors import safe_open

    with safe_open(one, "numpy") as a, safe_open(other, "numpy") as b:
        assert a.metadata() == b.metadata() and set(a.keys()) == set(b.keys())
        assert all(np.array_equal(a.get_tensor(name), b.get_tensor(name)) for name in a.keys())


@pytest.mark.parametrize("heads", ["mean", "mean_and_log_std"])
def test_load(heads, tmp_path):
    """Saved again it is the same file, of another type than the package's, too."""
    dataset = maa.Dataset(kind("clip", "elu", heads=heads))
    for run in range(2):
        state = mlp(8 + run, ["layers.0", "layers.1", "mean"])
        if heads == "mean_and_log_std":
            state["log_std"] = np.full(1, -1.0)
        statistics = maa.Statistics([0.5 * run, 0, 0], [1, 2, 3], clip=4)
        dataset.add_policy(state, "up", run, 7, action_box=([-3.0], [5.0]), statistics=statistics)
        actions = rng.uniform(-1, 1, (6 + run, 1))
        targets = actions + 1 if run == 1 else None
        dataset.add_trajectory(
            maa.Trajectory(OBSERVATIONS[: 6 + run], actions, targets, 3 if run == 1 else None, ["up", "down"][run], run)
        )
    dataset.metadata.update(period=0.02, action_names=["hip"], observation_names=["x", "y", "z"])
    dataset.provenance["from"] = "here"
    one, other = tmp_path / "one", tmp_path / "other"
    dataset.save(one)
    loaded = maa.Dataset.load(one)
    loaded.save(other)
    same_files(one, other)
    assert loaded.type == dataset.type and loaded.metadata["observation_names"] == "x,y,z"
    assert one.stat().st_mode & 0o777 == 0o666 & ~umask()
    for found, policy in zip(loaded.policies, dataset.policies):
        assert np.abs(found.act(OBSERVATIONS) - policy.act(OBSERVATIONS)).max() < 1e-5
    alone = maa.Dataset(kind())
    alone.add_trajectory(dataset.trajectories[0])
    alone._own_interface = {"interface.action_centre": np.zeros(1, np.float32), "interface.action_half_width": np.ones(1, np.float32)}
    alone.save(one)
    maa.Dataset.load(one).save(other)
    same_files(one, other)


def test_files_that_are_none(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "file"
    with pytest.raises(maa.Error, match="file': "):
        maa.Dataset.load(path)
    path.write_text("text")
    with pytest.raises(maa.Error, match="file': "):
        maa.Dataset.load(path)
    dataset = maa.Dataset(kind())
    dataset.add_policy(mlp(8, ["layers.0", "layers.1", "mean"]), "up", 0)
    dataset.add_trajectory(maa.Trajectory(OBSERVATIONS[:6], np.zeros((6, 1)), task="up"))
    dataset.save(path)
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        texts, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    for message, change in [
        ("expected a file of format 'maa.dataset'", lambda t, x: t.pop("format")),
        ("policy_run", lambda t, x: x.pop("policy_run")),
        ("expected a task below 1, found 4", lambda t, x: x.update(policy_task=np.array([4]))),
        ("expected", lambda t, x: x.update(policy_task=np.array([0, 0]))),
        ("policy.squash", lambda t, x: t.pop("policy.squash")),
        ("activations", lambda t, x: t.update({"policy.activations": "[relu, swish]"})),
        ("expected", lambda t, x: x.update(weights=np.zeros((1, 7), np.float32))),
        ("expected", lambda t, x: x.update(trajectory_length=np.array([5]))),
        ("extra", lambda t, x: x.update(extra=np.zeros(3))),
    ]:
        new_texts, new_tensors = dict(texts), dict(tensors)
        change(new_texts, new_tensors)
        save_file(new_tensors, path, new_texts)
        with pytest.raises(maa.Error, match=message):
            maa.Dataset.load(path)


def test_log_std_head_is_kept_where_the_type_has_one():
    state = {**mlp(8, ["layers.0", "layers.1", "mean"]), **linear(rng, "log_std", HIDDEN[-1], 1)}
    dataset = maa.Dataset(kind(heads="mean_and_log_std"))
    policy = dataset.add_policy(state, task="up", run=0)
    tensors = dataset.type.split(dataset.weights(policy))
    assert all(np.array_equal(tensors[name], state[name]) for name in state)
    with pytest.raises(maa.Error, match="expected a log_std head, found none"):
        dataset.add_policy(mlp(8, ["layers.0", "layers.1", "mean"]), task="up", run=0)


def log_std_of(dataset, policy):
    tensors = dataset.type.split(dataset.weights(policy))
    return tensors["log_std.weight"], tensors["log_std.bias"]


def test_log_std_without_observation_is_kept_where_the_type_has_a_head(tmp_path, read_numpy):
    """As a head of weight 0, in the action box's units as the mean is."""
    numbers = np.float32([-0.7, 0.3])
    state = {**sb3_state("PPO", 2, actions=2), "log_std": numbers}
    write_zip(tmp_path / "model.zip", sb3_data("PPO", low="[-1.5 -4.]", high="[2.5 4.]"), state)
    agent = mlp(4, ["actor_mean.0", "actor_mean.2", "actor_mean.4"], actions=2)
    actor = mlp(6, ["actor.0", "actor.2", "actor.4"], actions=2)
    box = ([-1.5, -4.0], [2.5, 4.0])
    names = ["layers.0", "layers.1", "mean"]
    for squash, activation, add in [
        ("clip", "tanh", lambda d: d.add_sb3(tmp_path / "model.zip", task="up", run=0)),
        (
            "clip",
            "tanh",
            lambda d: d.add_cleanrl(
                {**agent, "actor_logstd": numbers[None]}, task="up", run=0, action_box=box, statistics=False
            ),
        ),
        ("none", "elu", lambda d: d.add_rsl_rl({**actor, "std": np.exp(numbers)}, task="up", run=0)),
        ("none", "elu", lambda d: d.add_rsl_rl({**actor, "log_std": numbers}, task="up", run=0)),
        (
            "none",
            "elu",
            lambda d: d.add_policy({**mlp(8, names, actions=2), "log_std": numbers}, task="up", run=0),
        ),
    ]:
        dataset = maa.Dataset(kind(squash, activation, actions=2, heads="mean_and_log_std"))
        policy = add(dataset)
        weight, bias = log_std_of(dataset, policy)
        expected = numbers - np.log([2, 4]) if squash == "clip" else numbers
        assert not weight.any() and np.abs(bias - expected).max() < 1e-6
        assert not dataset.provenance


def test_log_std_that_sampling_clamps():
    state = {**mlp(8, ["layers.0", "layers.1", "mean"]), "log_std": np.zeros(1)}
    dataset = maa.Dataset(kind("clip", heads="mean_and_log_std"))
    with pytest.warns(UserWarning, match="is clamped to \\[-20, 2\\] in sampling"):
        dataset.add_policy(state, task="up", run=0, action_box=([-0.05], [0.05]), world=True)


def test_log_std_of_other_sizes():
    actor = mlp(6, ["actor.0", "actor.2", "actor.4"])
    for state, message in [
        ({"std": np.ones(2)}, "'std': expected 1 numbers, one for each action, found shape \\(2,\\)"),
        ({"std": np.zeros(1)}, "'std': expected positive numbers, found 0"),
    ]:
        with pytest.raises(maa.Error, match=message):
            maa.Dataset(kind("none", "elu")).add_rsl_rl({**actor, **state}, task="up", run=0)


# What is refused, each with the key that it is about.


def refused(message, **changes):
    changes = {"algorithm": "SAC", "state": None, "data": {}, "how": {}, **changes}
    return message, changes


def without(state, key):
    return {name: values for name, values in state.items() if name != key}


SAC = sb3_state("SAC", 0)
REFUSED = [
    refused("expected the key 'actor.mu.weight'", state=without(SAC, "actor.mu.weight")),
    refused("'actor.mu.bias': expected 1 numbers", state={**SAC, "actor.mu.bias": np.zeros(2)}),
    refused(
        "'actor.mu.bias': expected 1 dimensions, found shape \\(1, 1\\)",
        state={**SAC, "actor.mu.bias": np.zeros((1, 1))},
    ),
    refused("'actor.mu.bias': expected finite numbers", state={**SAC, "actor.mu.bias": np.full(1, np.nan)}),
    refused(
        "found also 'features_extractor.cnn.0.weight'",
        state={**SAC, "features_extractor.cnn.0.weight": np.zeros((1, 1))},
    ),
    refused(
        "found also 'actor.latent_pi.1.running_mean'", state={**SAC, "actor.latent_pi.1.running_mean": np.zeros(1)}
    ),
    refused("expected the key 'actor.latent_pi.0.weight' \\(SAC\\)", state={"q_net.0.weight": np.zeros((1, 1))}),
    refused("expected 3 observations, found 4", state=sb3_state("SAC", 0, observations=4)),
    refused(
        "mean: expected a weight of shape \\(1, 64\\), found \\(2, 64\\)",
        state=sb3_state("SAC", 0, actions=2),
        data={"action_space": {"low": "[-1. -1.]", "high": "[1. 1.]"}},
    ),
    refused(
        "'action_space': expected 1 numbers, found 2", data={"action_space": {"low": "[-1. -1.]", "high": "[1. 1.]"}}
    ),
    refused("'use_sde': expected false", data={"use_sde": True}),
    refused(
        "'policy_class': expected a policy of Stable-Baselines3, found one of 'mine'",
        data={"policy_class": {"__module__": "mine"}},
    ),
    refused(
        "expected statistics=, found none, while '_last_original_obs' tells",
        algorithm="PPO",
        data={"_last_original_obs": {}},
    ),
    refused(
        "'action_space': expected a Box with 'low', found <class 'Discrete'>",
        data={"action_space": {":type:": "<class 'Discrete'>"}},
    ),
    refused("expected the key 'action_space', found none", data={"action_space": None}),
    refused("cut short", data={"action_space": {"low": "[-1. ... -1.]", "high": "[1. ... 1.]"}}),
    refused("expected finite numbers", data={"action_space": {"low": "[-inf]", "high": "[inf]"}}),
    refused(
        "'activation_fn': expected one of",
        data={"policy_kwargs": {"activation_fn": "<class 'torch.nn.modules.activation.SiLU'>"}},
    ),
    refused(
        "activations: expected \\('relu', 'relu'\\), found \\('elu', 'elu'\\)",
        data={"policy_kwargs": {"activation_fn": "<class 'x.ELU'>"}},
    ),
    refused("squash: expected tanh, found clip", algorithm="PPO", how={"activation": "relu"}),
    refused(
        "'features_extractor_class': expected FlattenExtractor",
        data={"policy_kwargs": {"features_extractor_class": "<class 'mine.Extractor'>"}},
    ),
    refused(
        "'observation_space': expected a Box",
        data={"observation_space": {":type:": "<class 'gymnasium.spaces.dict.Dict'>"}},
    ),
    refused("expected names of tensors as keys, found 3", state={3: np.zeros(1)}),
    refused("'squash_output': expected false", algorithm="PPO", data={"policy_kwargs": {"squash_output": True}}),
    refused(
        "expected hidden layers of \\(64, 64\\) units, found \\(64,\\)",
        state={n: v for n, v in SAC.items() if "latent_pi.2" not in n},
    ),
    refused("statistics: expected the key 'variance'", how={"statistics": {"mean": [0, 0, 0]}}),
    refused(
        "expected the keys \\['clip', 'epsilon', 'mean', 'variance'\\]",
        how={"statistics": {"mean": 0, "variance": 1, "var": 1}},
    ),
    refused("statistics: expected 3 numbers, found 2", how={"statistics": {"mean": [0, 0], "variance": [1, 1]}}),
    refused("variance: expected positive", how={"statistics": {"mean": [0, 0, 0], "variance": [1, 1, -1]}}),
    refused("its file is a pickle, which is not read", how={"statistics": "vec_normalize.pkl"}),
]


@pytest.mark.parametrize("message, changes", REFUSED)
def test_refused(message, changes, tmp_path, monkeypatch):
    state = changes["state"] or sb3_state(changes["algorithm"], 0)
    write_zip(tmp_path / "model.zip", {**sb3_data(changes["algorithm"]), **changes["data"]}, {})
    monkeypatch.setattr(maa.sources, "_load_torch", lambda file, what: state)
    dataset = maa.Dataset(kind())
    with pytest.raises(maa.Error, match=message):
        dataset.add_sb3(tmp_path / "model.zip", task="up", run=0, **changes["how"])
    assert not dataset.policies


def test_numbers_that_are_none():
    dataset = maa.Dataset(kind())
    state = mlp(8, ["layers.0", "layers.1", "mean"])
    with pytest.raises(maa.Error, match="run: expected an integer, found 'x'"):
        dataset.add_policy(state, task="up", run="x")
    with pytest.raises(maa.Error, match="step: expected an integer, found 0.5"):
        dataset.add_policy(state, task="up", run=0, step=0.5)
    assert not dataset.policies


def test_bad_zips(tmp_path):
    import pickle
    import zipfile

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    def add(path):
        maa.Dataset(kind()).add_sb3(path, task="up", run=0)

    with pytest.raises(maa.Error, match="expected a file, found none"):
        add(tmp_path / "none.zip")
    (tmp_path / "pickle.zip").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(maa.Error, match="expected a zip of Stable-Baselines3"):
        add(tmp_path / "pickle.zip")
    for members, message in [
        ({"weights": b""}, "expected the member 'data'"),
        ({"data": b"{}"}, "expected the member 'policy.pth'"),
        ({"data": pickle.dumps(Evil()), "policy.pth": b""}, "member 'data': expected JSON"),
        ({"data": b"[]", "policy.pth": b""}, "member 'data': expected a JSON object"),
        ({"data": b"{}", "policy.pth": pickle.dumps(Evil())}, "member 'policy.pth': expected"),
        ({"data": b"{}", "policy.pth": b""}, "member 'policy.pth': expected"),
    ]:
        with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        with pytest.raises(maa.Error, match=message):
            add(tmp_path / "bad.zip")
    write_zip(tmp_path / "whole.zip", sb3_data("SAC"), SAC)
    whole = (tmp_path / "whole.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:2000])
    (tmp_path / "damaged.zip").write_bytes(whole[:3000] + bytes(100) + whole[3100:])
    for name in ("cut", "damaged"):
        with pytest.raises(maa.Error, match="expected a zip"):
            add(tmp_path / f"{name}.zip")
    assert not (tmp_path / "ran").exists()


def test_policies_that_do_not_go_together(tmp_path):
    dataset = maa.Dataset(kind())
    names = ["layers.0", "layers.1", "mean"]
    dataset.add_policy(mlp(1, names), task="up", run=0, action_box=([-1.0], [2.0]))
    with pytest.raises(maa.Error, match="action_box: expected that of the policies before it"):
        dataset.add_policy(mlp(2, names), task="up", run=1)
    statistics = {"mean": [0, 0, 0], "variance": [1, 1, 1]}
    dataset.add_policy(mlp(2, names), task="up", run=1, action_box=([-1.0], [2.0]), statistics=statistics)
    with pytest.raises(maa.Error, match="task 'up', run 0, step 0: expected statistics"):
        dataset.save(tmp_path / "dataset.safetensors")
    assert not list(tmp_path.iterdir())
    with pytest.raises(maa.Error, match="expected policies or trajectories"):
        maa.Dataset(kind()).save(tmp_path / "dataset.safetensors")
    with pytest.raises(maa.Error, match="found also .value.bias., .value.weight."):
        dataset.add_policy({**mlp(1, names), **linear(rng, "value", 3, 1)}, task="up", run=0)
