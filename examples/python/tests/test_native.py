"""The compiled part: policies that act, generators that train and generate, without the GIL."""

import ctypes
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import mlp

import maa

KIND = maa.PolicyType.built()
SHORT = {
    "behavior.train.steps": 3,
    "behavior.train.batch": 4,
    "embedder.train.steps": 3,
    "embedder.train.batch": 4,
    "check": False,
}
rng = np.random.default_rng(2)
BOX = ([-1.0] * KIND.actions, [2.0] * KIND.actions)


def sizes():
    return {"observations": KIND.observations, "actions": KIND.actions}


def dataset(runs=4, steps=70, **more):
    result = maa.Dataset()
    names = [*(f"layers.{i}" for i in range(len(KIND.hidden))), "mean"]
    for run in range(runs):
        state = mlp(run, names, **sizes())
        if KIND.has_log_std:
            state["log_std"] = np.full(KIND.actions, -1 - 0.1 * run)
        policy = result.add_policy(state, task=f"task {run % 2}", run=run, action_box=BOX, **more)
        observations = rng.uniform(-1, 1, (steps, KIND.observations))
        result.add_trajectory(
            maa.Trajectory(observations, policy.act(observations), success_step=50, task=policy.task, run=run)
        )
    result.metadata["joint_names"] = "hip"
    return result


@pytest.fixture(scope="module")
def data():
    return dataset()


@pytest.fixture(scope="module")
def generator(data):
    result = maa.Generator()
    assert result.fit(data, options=SHORT)
    return result


@pytest.fixture(scope="module")
def policy(data):
    interface = {
        **data.interface(),
        "observation_mean": [0.5] * KIND.observations,
        "observation_scale": [2.0] * KIND.observations,
        "observation_clip": 1.5,
    }
    return maa.Policy(data.weights(data.policies[0]), **interface, metadata={"joint_names": "hip"})


ROWS = rng.uniform(-1, 1, (40, KIND.observations)).astype(np.float32)


def test_act(policy):
    actions = policy.act(ROWS)
    assert actions.shape == (40, KIND.actions) and actions.dtype == np.float32
    assert np.abs(np.stack([policy.act(row) for row in ROWS]) - actions).max() < 1e-6
    one = policy.act(ROWS[0])
    for same in (ROWS[0].astype(np.float64), ROWS[0].tolist(), np.repeat(ROWS[0], 2)[::2], memoryview(ROWS[0])):
        assert np.array_equal(policy.act(same), one)
    assert np.array_equal(policy.act(ROWS.astype(np.float64)), actions)
    assert np.array_equal(policy.act(np.asfortranarray(ROWS)), actions)
    assert np.array_equal(policy.act(np.zeros(KIND.observations, int)), policy.act(np.zeros(KIND.observations)))
    assert policy.act(ROWS[:0]).shape == (0, KIND.actions)
    locked = ROWS.copy()
    locked.flags.writeable = False
    assert np.array_equal(policy.act(locked), actions)
    for wrong in (np.zeros(KIND.observations + 1), np.zeros((2, 2, KIND.observations)), np.float32(0), ROWS[:, :-1]):
        with pytest.raises(maa.Error, match="act: expected observations of shape"):
            policy.act(wrong)


@pytest.mark.skipif(not KIND.has_log_std, reason="the built type has no log_std")
def test_sample(policy, generator, data):
    """Mean + exp(log_std) * noise in the action box's units, squashed: here -1 of a box whose half width is 1.5."""
    same = np.repeat(ROWS[:1], 4000, 0)
    found = policy.sample(same, seed=3)
    assert found.shape == (4000, KIND.actions) and found.dtype == np.float32
    assert np.array_equal(policy.sample(same, seed=3), found) and not np.array_equal(policy.sample(same, seed=4), found)
    assert np.array_equal(policy.sample(ROWS[0], seed=3), found[0])
    if KIND.squash == "clip":  # few are cut off
        assert np.abs(found.mean(0) - policy.act(ROWS[0])).max() < 0.05
        assert np.abs(found.std(0) - 1.5 * np.exp(-1)).max() < 0.05
    with pytest.raises(maa.Error, match="sample: expected observations of shape"):
        policy.sample(ROWS[:, :-1], seed=0)
    for made in generator.generate(data.trajectories[0], count=2):
        tensors = KIND.split(made.weights)
        assert not tensors["log_std.weight"].any()  # as those of its data
        assert ((-1.5 < tensors["log_std.bias"]) & (tensors["log_std.bias"] < -0.8)).all()


def test_overhead(policy):
    """At most 2 us beside the copy of its result; ten times that here, where others compute."""
    row, many = ROWS[0].copy(), 5000
    best = min(_seconds(lambda: policy.act(row), many) for _ in range(9)) / many
    print(f"act: {best * 1e6:.2f} us")
    assert best < 20e-6


def _seconds(call, many):
    started = time.perf_counter()
    for _ in range(many):
        call()
    return time.perf_counter() - started


def test_weights_and_files(policy, data, tmp_path):
    assert np.array_equal(policy.weights, data.weights(data.policies[0]))
    policy.weights[:] = 0  # a copy
    policy.save(tmp_path / "policy.safetensors")
    loaded = maa.Policy.load(tmp_path / "policy.safetensors")
    assert np.array_equal(loaded.act(ROWS), policy.act(ROWS)) and loaded.metadata == {"joint_names": "hip"}
    from safetensors.numpy import load_file

    again = maa.Dataset()  # with its interface
    found = again.add_policy(load_file(tmp_path / "policy.safetensors"), task="up", run=0)
    assert np.abs(found.act(ROWS) - policy.act(ROWS)).max() <= 1e-6
    assert np.array_equal(maa.Policy(again.weights(found), **again.interface()).act(ROWS), policy.act(ROWS))
    assert loaded.interface.keys() == policy.interface.keys() and loaded.interface["observation_clip"] == 1.5
    with pytest.raises(maa.Error, match="none.safetensors"):
        maa.Policy.load(tmp_path / "none.safetensors")
    with pytest.raises(maa.Error, match=f"expected {KIND.parameters} weights, found 3"):
        maa.Policy(np.zeros(3))
    with pytest.raises(maa.Error, match="expected finite weights"):
        maa.Policy(np.full(KIND.parameters, np.nan))
    with pytest.raises(maa.Error, match="observation_mean and observation_scale"):
        maa.Policy(policy.weights, observation_mean=[0.0])


def test_onnx(policy, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    if not hasattr(policy, "to_onnx"):
        pytest.skip("built without protozero")
    policy.to_onnx(tmp_path / "policy.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx")
    (found,) = session.run(None, {"obs": ROWS})
    assert np.abs(found - policy.act(ROWS)).max() <= 1e-6
    assert session.get_modelmeta().custom_metadata_map == {"joint_names": "hip"}


def test_c_header(policy, tmp_path):
    policy.to_c_header(tmp_path / "policy.h", "walk")
    source = '#include "policy.h"\nvoid act(const float* o, float* a) { walk_act(o, a); }\n'
    (tmp_path / "policy.c").write_text(source)
    library = tmp_path / "policy.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", tmp_path / "policy.c", "-o", library, "-lm"], check=True)
    act = ctypes.CDLL(library).act
    found = np.zeros((len(ROWS), KIND.actions), np.float32)
    for row, action in zip(ROWS, found):
        act(row.ctypes.data_as(ctypes.c_void_p), action.ctypes.data_as(ctypes.c_void_p))
    assert np.abs(found - policy.act(ROWS)).max() <= 1e-6
    with pytest.raises(maa.Error, match="identifier"):
        policy.to_c_header(tmp_path / "policy.h", "a b")


def test_torch(policy, data):
    torch = pytest.importorskip("torch")
    network = policy.to_torch()
    rows = torch.from_numpy(ROWS)
    with torch.no_grad():
        assert np.abs(network(rows).numpy() - policy.act(ROWS)).max() <= 1e-6
        scripted = torch.jit.script(network)
        assert np.array_equal(scripted(rows).numpy(), network(rows).numpy())
        assert np.array_equal(policy.act(rows), policy.act(ROWS))  # DLPack
        bare = maa.Policy(policy.weights)
        assert np.abs(bare.to_torch()(rows).numpy() - bare.act(ROWS)).max() <= 1e-6
    names = {name for name, _ in KIND.tensors()}
    assert names == set(bare.to_torch().state_dict())
    again = maa.Dataset()  # and back
    found = again.add_policy(bare.to_torch().state_dict(), task="up", run=0)
    assert np.array_equal(again.weights(found), policy.weights)


def test_generate(generator, data, tmp_path):
    shown = data.trajectories[0]
    assert generator.trained and not maa.Generator().trained
    policies = generator.generate(shown, count=3, seed=5)
    assert len(policies) == 3 and policies[0].metadata == {"joint_names": "hip"}
    actions = policies[0].act(shown.observations)
    assert (actions >= -1).all() and (actions <= 2).all()
    assert np.array_equal(policies[0].interface["action_half_width"], [1.5] * KIND.actions)
    generator.save(tmp_path / "generator.safetensors")
    loaded = maa.Generator.load(tmp_path / "generator.safetensors", threads=1)
    shown.save(tmp_path / "shown.npz")
    pair = (shown.observations, shown.actions)
    for same in (tmp_path / "shown.npz", [shown], shown):
        assert np.array_equal(loaded.generate(same, seed=5, count=3)[0].weights, policies[0].weights)
    assert len(loaded.generate([shown, shown])) == 1 and len(loaded.generate(pair, options={"polish.steps": 2})) == 1
    # The policy that made it, unless that is not wanted.
    assert loaded.looked_up(policies[0]) and np.array_equal(policies[0].weights, data.weights(data.policies[0]))
    assert not loaded.looked_up(policies[1])
    (other,) = loaded.generate(shown, options={"look_up": False, "polish.steps": np.int64(0)})
    assert not loaded.looked_up(other)
    assert len(loaded.novelty([shown, data.trajectories[1]])) == 2
    with pytest.raises(maa.Error, match="expected the name of an option, found 'polish.step'; the nearest are"):
        loaded.generate(shown, options={"polish.step": 2})
    with pytest.raises(maa.Error, match="expected count from 1"):
        loaded.generate(shown, count=0)
    with pytest.raises(maa.Error, match="expected 'count' not among options"):
        loaded.generate(shown, options={"count": 3})
    with pytest.raises(maa.Error, match="expected a maa.Trajectory, a path"):
        loaded.generate(3)
    with pytest.raises(maa.Error, match="expected"):
        loaded.generate((np.zeros((9, KIND.observations + 1)), np.zeros((9, KIND.actions))))
    with pytest.raises(maa.Error):
        maa.Generator().generate(shown)
    with pytest.raises(maa.Error, match="none.safetensors"):
        maa.Generator.load(tmp_path / "none.safetensors")


def test_fit_calls_back(data, tmp_path):
    seen = []
    trained = maa.Generator()
    assert trained.fit(data, lambda *progress: seen.append(progress), options=SHORT)
    assert [progress[1:3] for progress in seen] == [(1, 3), (2, 3), (3, 3)] * 2
    assert len({progress[0] for progress in seen}) == 2 and all(progress[3] > 0 for progress in seen)
    stopped = maa.Generator()
    assert not stopped.fit(data, lambda stage, step, steps, loss: step < 2, options=SHORT)
    assert not stopped.trained

    def fails(*progress):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        stopped.fit(data, fails, options=SHORT)
    with pytest.raises(maa.Error, match="in use"):
        stopped.fit(data, lambda *progress: stopped.trained, options=SHORT)
    with pytest.raises(maa.Error, match="the nearest are"):
        stopped.fit(data, options={"behaviour.steps": 3})
    with pytest.raises(maa.Error, match="behavior.train.steps"):
        stopped.fit(data, options={"behavior.train.steps": -1})
    with pytest.raises(maa.Error, match="none.safetensors"):
        stopped.fit(tmp_path / "none.safetensors")
    other = maa.PolicyType(KIND.observations, KIND.actions, KIND.hidden, KIND.activations, KIND.heads, "none")
    with pytest.raises(maa.Error, match=f"fit: expected a data set with squash {KIND.squash}, found none"):
        stopped.fit(maa.Dataset(other))
    assert not stopped.trained
    data.save(tmp_path / "data.safetensors")
    assert stopped.fit(tmp_path / "data.safetensors", options=SHORT, checkpoint=tmp_path / "checkpoint.safetensors")
    assert (tmp_path / "checkpoint.safetensors").exists()
    shown = data.trajectories[0]
    assert np.array_equal(stopped.generate(shown)[0].weights, trained.generate(shown)[0].weights)


def test_statistics_reach_generated_policies(tmp_path):
    size = KIND.observations
    statistics = {"mean": [0.5] * size, "variance": [2.0] * size, "epsilon": 1e-8, "clip": 10}
    scaled, trained = dataset(statistics=statistics), maa.Generator()
    scaled.save(tmp_path / "data.safetensors")
    assert trained.fit(tmp_path / "data.safetensors", options=SHORT)
    interface = trained.generate(scaled.trajectories[0])[0].interface
    assert interface["observation_clip"] == 10 and np.allclose(interface["observation_mean"], 0.5)


def test_what_policies_do_is_compared_with_trajectories(data):
    wrong = dataset()
    for trajectory in wrong.trajectories:
        trajectory.actions = -trajectory.actions
    with pytest.raises(maa.Error, match="expected policies that do what the trajectories show"):
        maa.Generator().fit(wrong, options={**SHORT, "check": True})
    assert maa.Generator().fit(data, options={**SHORT, "check": True})


@pytest.mark.parametrize("what", ["fit", "generate"])
def test_the_gil_is_released(what, generator, data):
    """Another thread counts on meanwhile; were the GIL held, it would not before the end."""
    work = {
        "fit": lambda: maa.Generator(1).fit(data, options={**SHORT, "behavior.train.steps": 40}),
        "generate": lambda: generator.generate(data.trajectories[0], count=300),
    }[what]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    ticks, over = [], threading.Event()

    def tick():
        while not over.is_set():
            ticks.append(time.perf_counter())
            time.sleep(1e-3)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        started = time.perf_counter()
        work()
        ended = time.perf_counter()
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)
    inside = [tick for tick in ticks if started < tick < ended]
    gaps = np.diff([started, *inside, ended])
    assert len(inside) > 5 and gaps.max() < 0.5 * (ended - started), (len(inside), gaps.max(), ended - started)


def test_threads_generate_at_once(generator, data):
    expected = generator.generate(data.trajectories[1], count=2)
    found = [None] * 4

    def run(i):
        found[i] = generator.generate(data.trajectories[1], count=2)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(policies[1].weights, expected[1].weights) for policies in found)


def test_interrupt(data):
    """Ctrl-C stops a training that has no callback."""
    program = """
import maa, pickle, signal, sys, threading, os
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
data = maa.Dataset()
data.trajectories = pickle.load(open(sys.argv[1], "rb"))
threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    maa.Generator().fit(data, options={"behavior.train.steps": 1000000})
except KeyboardInterrupt:
    print("stopped")
"""
    import pickle
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".pickle") as file:
        pickle.dump(data.trajectories, file)
        file.flush()
        done = subprocess.run([sys.executable, "-c", program, file.name], capture_output=True, text=True, timeout=60)
    assert done.stdout == "stopped\n", done.stderr
