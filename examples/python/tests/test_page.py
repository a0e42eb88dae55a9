"""The blocks of README.md run in their order, as they stand there; only training is shorter."""

import importlib.util
import pathlib
import re

import numpy as np
import pytest
from conftest import kind, sb3_data, sb3_state, write_zip

import maa

pytest.importorskip("gymnasium")
PAGE = pathlib.Path(__file__).parents[1] / "README.md"
SHORT = {"behavior.train.steps": 3, "embedder.train.steps": 3}


def has(package):
    return importlib.util.find_spec(package) is not None


@pytest.mark.skipif(maa.PolicyType.built() != kind(), reason="the page is of the default type")
@pytest.mark.filterwarnings("ignore:.*log_std was dropped")
def test_page(tmp_path, monkeypatch, request):
    lines, act, to_torch, runs = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    code = [line for line in lines.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(code) <= 10, "ten lines"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    namespace = {}
    if has("stable_baselines3"):
        exec("import gymnasium", namespace)
        exec(runs, namespace)
    else:
        request.getfixturevalue("read_numpy")
        for g in (8, 10):
            write_zip(f"runs/gravity_{g}.zip", sb3_data("SAC"), sb3_state("SAC", g))
    fit = maa.Generator.fit
    monkeypatch.setattr(maa.Generator, "fit", lambda self, data, **how: fit(self, data, options=SHORT, **how))
    namespace = {}
    exec(lines, namespace)
    exec(act, namespace)
    observation, policy = namespace["observation"], namespace["policies"][0]
    assert namespace["action"].shape == (1,) and np.abs(namespace["action"]).max() <= 2
    assert len(namespace["policies"]) == 10 and len(namespace["dataset"].trajectories) == 8
    files = ("policy.safetensors", "policy.h", "policy.onnx", "generator.safetensors")
    assert all((tmp_path / name).stat().st_size > 0 for name in files)
    if has("torch"):
        import torch

        exec(to_torch, namespace)
        with torch.no_grad():
            found = torch.jit.load("policy.pt")(torch.from_numpy(observation)).numpy()
        assert np.abs(found - policy.act(observation)).max() <= 1e-6


def test_cookbook(tmp_path, monkeypatch):
    """The Python block of docs/cookbook.md."""
    (block,) = re.findall(r"```python\n(.*?)```", (PAGE.parents[2] / "docs/cookbook.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    dataset = maa.Dataset()
    observations = np.random.default_rng(3).uniform(-1, 1, (2, 40, dataset.type.observations))
    for task, seen in zip(("up", "down"), observations):
        dataset.add_trajectory(maa.Trajectory(seen, np.zeros((40, dataset.type.actions)), task=task))
    dataset.trajectories[0].save("demonstration.npz")
    generator = maa.Generator()
    generator.fit(dataset, options=SHORT)
    generator.save("generator.safetensors")
    exec(block, {})
    assert (tmp_path / "policy.safetensors").exists()


def test_tables_and_names():
    """What the page names is there."""
    text = PAGE.read_text()
    cmake = (PAGE.parent / "CMakeLists.txt").read_text()
    for name in re.findall(r"`(MAA_\w+)`", text):
        assert f"set({name} " in cmake
    for name in re.findall(r"`(add_\w+|record)\(", text):
        assert hasattr(maa.Dataset, name)
    for name in re.findall(r"`maa\.(\w+)", text):
        assert hasattr(maa, name)
    for name in re.findall(r'options=\{"([\w.]+)"', text):
        assert name in {**maa.fit_options(), **maa.generate_options()}
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (PAGE.parent / link).exists()
