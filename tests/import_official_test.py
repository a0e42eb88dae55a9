"""Checkpoints with the public code's names become one file, whatever lies beside their weights; what is missing or
foreign is named. Skipped without torch. The file's other end is the test official."""
import os
import subprocess
import sys
import tempfile

try:
    import torch
    from safetensors import safe_open
except ImportError:
    print("skipped: no torch or safetensors")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "fixtures")]
from official_checkpoints import checkpoints  # noqa: E402


class Foreign:  # of a package that is not installed where the file is read
    def __init__(self):
        self.lr = 1e-3


class Hostile:
    def __reduce__(self):
        return (os.system, ("touch " + MARK,))


def convert(folder, parts):
    paths = [os.path.join(folder, name) for name in ("autoencoder.pt", "embedding.pt", "generator.pt")]
    for path, part in zip(paths, parts):
        torch.save(part, path)
    out = os.path.join(folder, "official.safetensors")
    if os.path.exists(out):
        os.remove(out)
    run = subprocess.run([sys.executable, os.path.join(HERE, "..", "examples", "import_official.py"), *paths, out],
                         capture_output=True, text=True)
    return run, out


def refused(folder, parts, *texts):
    run, out = convert(folder, parts)
    assert run.returncode != 0 and not os.path.exists(out), run.stdout
    for text in texts:
        assert text in run.stderr, f"expected {text!r} in {run.stderr!r}"


with tempfile.TemporaryDirectory() as folder:
    MARK = os.path.join(folder, "mark")
    good = checkpoints()
    good[0]["hyper_parameters"] = {"cfg": Foreign()}
    run, out = convert(folder, good)
    assert run.returncode == 0, run.stderr
    with safe_open(out, "pt") as file:
        assert file.metadata() == {"format": "maa official 1"}
        names = set(file.keys())
        assert len([name for name in names if name.startswith("denoiser.")]) == 148
        weight = good[0]["state_dict"]["model.input_parameter_projections.1.0.weight"]
        assert torch.equal(file.get_tensor("autoencoder.encoders.1.0.weight"), weight)
        x = torch.randn(good[2]["normalizer"]["params_dict.param.scale"].shape)
        scale, offset = (good[2]["normalizer"][f"params_dict.param.{part}"] for part in ("scale", "offset"))
        ours = (x - file.get_tensor("normalizer.latent.offset")[: len(x)]) * file.get_tensor("normalizer.latent.scale")[: len(x)]
        assert torch.allclose(ours, x * scale + offset, atol=1e-5)

    bare = [good[0]["state_dict"], good[1]["state_dict"],
            {**good[2]["model"], **{"normalizer." + name: value for name, value in good[2]["normalizer"].items()}}]
    run, again = convert(folder, bare)
    assert run.returncode == 0, run.stderr
    with safe_open(again, "pt") as file:
        assert set(file.keys()) == names

    def changed(part, section, change):
        parts = [dict(each) for each in checkpoints()]
        parts[part][section] = dict(parts[part][section])
        change(parts[part][section])
        return parts

    refused(folder, changed(0, "state_dict", lambda d: d.update({"model.extra.weight": torch.ones(1)})),
            "autoencoder.pt", "'extra.weight'")
    refused(folder, changed(1, "state_dict", lambda d: d.pop("model.W")), "embedding.pt", "(W)")
    refused(folder, changed(2, "normalizer", lambda d: d.pop("params_dict.task.scale")), "generator.pt",
            "params_dict.task.scale")
    refused(folder, changed(2, "normalizer", lambda d: d["params_dict.param.scale"].zero_()), "generator.pt",
            "positive numbers")
    refused(folder, changed(0, "state_dict", lambda d: d["model.ln_in.weight"].fill_(float("nan"))),
            "autoencoder.norm.weight")
    refused(folder, [Hostile(), good[1], good[2]], "autoencoder.pt")
    refused(folder, [{"state_dict": Hostile()}, good[1], good[2]], "autoencoder.pt")
    assert not os.path.exists(MARK)
    with open(os.path.join(folder, "autoencoder.pt"), "wb") as file:
        file.write(b"no checkpoint")
print("passed")
