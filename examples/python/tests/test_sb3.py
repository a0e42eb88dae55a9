"""Policies of the real Stable-Baselines3 act in maa as there: zips and live models, with a box and a VecNormalize."""

import warnings

import numpy as np
import pytest
from conftest import HIDDEN, acts, kind

import maa

sb3 = pytest.importorskip("stable_baselines3", reason="no stable-baselines3 here: bash test.sh --with-sb3")
gymnasium = pytest.importorskip("gymnasium")
torch = pytest.importorskip("torch")
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402

OBSERVATIONS = np.random.default_rng(5).uniform(-1, 1, (500, 3)).astype(np.float32) * np.float32([1, 1, 8])
# algorithm -> its activation and squash, and arguments
ALGORITHMS = {
    "SAC": ("relu", "tanh", {"learning_starts": 20}),
    "TD3": ("relu", "tanh", {"learning_starts": 20}),
    "DDPG": ("relu", "tanh", {"learning_starts": 20}),
    "PPO": ("tanh", "clip", {"n_steps": 64, "batch_size": 32}),
    "A2C": ("tanh", "clip", {}),
}


def train(algorithm, env, **kwargs):
    *_, arguments = ALGORITHMS[algorithm]
    kwargs = {"net_arch": list(HIDDEN), **kwargs}
    model = getattr(sb3, algorithm)("MlpPolicy", env, policy_kwargs=kwargs, seed=3, device="cpu", **arguments)
    return model.learn(70)


def check(dataset, policy, expected, tmp_path):
    """The added policy, the file, and where its type is that of the package the compiled policy and its PyTorch module."""
    assert np.abs(policy.act(OBSERVATIONS) - expected).max() <= 1e-6
    path = tmp_path / "dataset.safetensors"
    dataset.save(path)
    found = acts(path, dataset.policies.index(policy), OBSERVATIONS)
    # float64 of numbers up to 8: what float32 rounds in the framework
    assert np.abs(found(dataset.type.activations[0], dataset.type.squash) - expected).max() <= 4e-6
    if dataset.type == maa.PolicyType.built():
        native = maa.Policy(dataset.weights(policy), **dataset.interface())
        assert np.abs(native.act(OBSERVATIONS) - expected).max() <= 1e-6
        with torch.no_grad():
            assert np.abs(native.to_torch()(torch.from_numpy(OBSERVATIONS)).numpy() - expected).max() <= 1e-6


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("normalised", [False, True])
def test_actions(algorithm, normalised, tmp_path):
    activation, squash, _ = ALGORITHMS[algorithm]
    env = DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")])
    if normalised:
        env = VecNormalize(env)
    model = train(algorithm, env)
    model.save(tmp_path / "model.zip")
    seen = env.normalize_obs(OBSERVATIONS) if normalised else OBSERVATIONS
    expected, _ = model.predict(seen, deterministic=True)
    for source, statistics in [(tmp_path / "model.zip", env if normalised else None), (model, None)]:
        dataset = maa.Dataset(kind(squash, activation, heads="mean_and_log_std" if squash == "clip" else "mean"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            policy = dataset.add_sb3(source, task="up", run=0, statistics=statistics)
        check(dataset, policy, expected, tmp_path)
        assert ("observation_mean" in dataset.interface()) == normalised
        assert np.array_equal(dataset.interface()["action_half_width"], [2])
    if normalised:
        file = tmp_path / "vecnormalize.pkl"
        if squash == "clip":
            with pytest.raises(maa.Error, match="found none, while '_last_original_obs' tells"):
                dataset.add_sb3(tmp_path / "model.zip", task="up", run=0)
        env.save(file)
        with pytest.raises(maa.Error, match="expected statistics=, found none"):
            dataset.add_sb3(tmp_path / "model.zip", task="up", run=0)
        with pytest.raises(maa.Error, match="its file is a pickle, which is not read"):
            dataset.add_sb3(tmp_path / "model.zip", task="up", run=0, statistics=str(file))


def test_another_activation(tmp_path):
    model = train("PPO", gymnasium.make("Pendulum-v1"), activation_fn=torch.nn.ELU)
    model.save(tmp_path / "model.zip")
    for source in (model, tmp_path / "model.zip"):
        dataset = maa.Dataset(kind("clip", "elu"))
        with pytest.warns(UserWarning, match="log_std"):
            policy = dataset.add_sb3(source, task="up", run=0)
        check(dataset, policy, model.predict(OBSERVATIONS, deterministic=True)[0], tmp_path)


def test_what_is_no_mlp_actor(tmp_path):
    dataset = maa.Dataset(kind())
    sde = sb3.SAC("MlpPolicy", "Pendulum-v1", use_sde=True)
    sde.save(tmp_path / "sde.zip")
    dqn = sb3.DQN("MlpPolicy", "CartPole-v1")
    dqn.save(tmp_path / "dqn.zip")
    discrete = sb3.PPO("MlpPolicy", gymnasium.make("FrozenLake-v1"), n_steps=64)
    discrete.save(tmp_path / "discrete.zip")
    for name, model, message in [
        ("discrete", discrete, "'observation_space': expected a Box"),
        ("sde", sde, "'use_sde'"),
        ("dqn", dqn, "expected the key 'actor.latent_pi.0.weight'"),
    ]:
        for source in (tmp_path / f"{name}.zip", model):
            with pytest.raises(maa.Error, match=message):
                dataset.add_sb3(source, task="up", run=0)
    with pytest.raises(maa.Error, match="expected a path or a model"):
        dataset.add_sb3(object(), task="up", run=0)


def test_files_of_weights_alone(tmp_path):
    """CleanRL's and rsl_rl's files; what is another pickle is refused, and does not run."""
    from conftest import mlp

    box = {"action_scale": torch.tensor([2.0]), "action_bias": torch.tensor([0.0])}
    state = {name: torch.from_numpy(values) for name, values in mlp(1, ["fc1", "fc2", "fc_mu"]).items()}
    torch.save(({**state, **box}, {}, {}), tmp_path / "td3.cleanrl_model")
    dataset = maa.Dataset(kind())
    dataset.add_cleanrl(tmp_path / "td3.cleanrl_model", task="up", run=0)
    actor = {name: torch.from_numpy(values) for name, values in mlp(1, ["actor.0", "actor.2", "actor.4"]).items()}
    torch.save(
        {"model_state_dict": {**actor, "std": torch.ones(1)}, "iter": 3, "infos": None}, tmp_path / "model_3.pt"
    )
    with pytest.warns(UserWarning, match="log_std was dropped"):
        maa.Dataset(kind("none", "elu")).add_rsl_rl(tmp_path / "model_3.pt", task="up", run=0)
    module = torch.nn.Linear(3, 1)
    torch.save(module, tmp_path / "module.pt")
    for name in ("module.pt", "none.pt"):
        with pytest.raises(maa.Error, match=name):
            dataset.add_cleanrl(tmp_path / name, task="up", run=0)
