#!/usr/bin/env python3
"""Checkpoints of the public code of Make-An-Agent as one safetensors file, which maa::load_official and
examples/generate read.

    python3 import_official.py autoencoder.pt behavior_embedding.pt model-best.pt official.safetensors

Needs torch and safetensors. Checkpoints are read with weights_only: nothing in them is run. Options that lie beside the
weights (of packages that need not be installed) are passed over."""
import argparse
import re
import sys

import torch
from safetensors.torch import save_file

FORMAT = "maa official 1"


class Ignored:
    """Stands for what a checkpoint holds beside tensors."""

    def __init__(self, *arguments, **named):
        pass

    def __setstate__(self, state):
        pass


def read(path):
    """The checkpoint as a dict, without running anything in it."""
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        with torch.serialization.safe_globals([(Ignored, name) for name in foreign]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise SystemExit(f"{path}: expected a checkpoint of the public code, found none that can be read: {error}")
    if not isinstance(checkpoint, dict):
        raise SystemExit(f"{path}: expected a dict of tensors, found {type(checkpoint).__name__}")
    return checkpoint


def tensors_of(part, path, what):
    if not isinstance(part, dict):
        raise SystemExit(f"{path}: expected {what} as a dict of tensors, found {type(part).__name__}")
    return {name: value for name, value in part.items() if isinstance(value, torch.Tensor)}


# Names in the public code -> in maa's files; {} is what stays.
AUTOENCODER = {
    r"input_parameter_projections\.(.+)": "autoencoder.encoders.{}",
    r"ln_in\.(weight|bias)": "autoencoder.norm.{}",
    r"output_parameter_projections\.(.+)": "autoencoder.decoders.{}",
}
EMBEDDER = {
    r"traj_embed\.(.+)": "embedder.phi.{}",
    r"task_embed\.(.+)": "embedder.psi.{}",
    r"(W)": "embedder.metric",
}
DENOISER = {
    r"((?:diffusion_step_encoder|down_modules|mid_modules|up_modules|final_conv)\..+)": "denoiser.{}",
}


def renamed(tensors, names, path):
    """All tensors under their new names; SystemExit for one that is foreign, and for a kind that is missing."""
    result = {}
    found = set()
    for name, value in tensors.items():
        for pattern, new in names.items():
            match = re.fullmatch(pattern, name)
            if match:
                found.add(pattern)
                result[new.format(match[1])] = value
                break
        else:
            raise SystemExit(f"{path}: expected tensors of the public code's model, found '{name}', too")
    for pattern, new in names.items():
        if pattern not in found:
            raise SystemExit(f"{path}: expected tensors like '{pattern}', found none")
    return result


def model_of(checkpoint, path):
    """The model's tensors: of a Lightning checkpoint, of the public code's own, or bare. Normalisers are left out."""
    part = checkpoint.get("state_dict", checkpoint.get("model", checkpoint))
    tensors = tensors_of(part, path, "a state_dict")
    return {re.sub(r"^model\.", "", name): value for name, value in tensors.items()
            if not name.startswith(("normalizer.", "_dummy_variable"))}


def normalizer_of(tensors, field, path):
    """offset and scale of y = (x - offset) scale, for the public code's y = x scale + offset."""
    values = []
    for part in ("offset", "scale"):
        name = f"params_dict.{field}.{part}"
        if name not in tensors:
            raise SystemExit(f"{path}: expected the normaliser's tensor '{name}', found none")
        values.append(tensors[name].double().reshape(-1))
    offset, scale = values
    if not bool((scale > 0).all()):
        raise SystemExit(f"{path}: expected positive numbers in params_dict.{field}.scale, found others")
    return -offset / scale, scale


def official(autoencoder, embedder, generator, paths=("autoencoder", "embedder", "generator")):
    """The three checkpoints (dicts) as one dict of float32 tensors with maa's names."""
    tensors = renamed(model_of(autoencoder, paths[0]), AUTOENCODER, paths[0])
    tensors.update(renamed(model_of(embedder, paths[1]), EMBEDDER, paths[1]))
    tensors.update(renamed(model_of(generator, paths[2]), DENOISER, paths[2]))
    if "normalizer" in generator:
        fields = tensors_of(generator["normalizer"], paths[2], "the normaliser")
    else:  # a part of the model
        every = tensors_of(generator.get("model", generator), paths[2], "a state_dict")
        fields = {name[len("normalizer."):]: value for name, value in every.items() if name.startswith("normalizer.")}
    offset, scale = normalizer_of(fields, "param", paths[2])
    tokens = len({name.split(".")[2] for name in tensors if name.startswith("autoencoder.encoders.")})
    tensors["normalizer.latent.offset"], tensors["normalizer.latent.scale"] = offset.repeat(tokens), scale.repeat(tokens)
    parts = [normalizer_of(fields, field, paths[2]) for field in ("traj", "task")]
    for i, name in enumerate(("offset", "scale")):
        tensors[f"normalizer.condition.{name}"] = torch.cat([part[i] for part in parts])
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise SystemExit(f"{', '.join(paths)}: expected finite numbers in '{name}', found others")
    return {name: value.float().contiguous().clone() for name, value in tensors.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("autoencoder", "embedder", "generator"):
        parser.add_argument(name, help=f"the public code's checkpoint of its {name}")
    parser.add_argument("out", help="the file to write (.safetensors)")
    arguments = parser.parse_args()
    paths = (arguments.autoencoder, arguments.embedder, arguments.generator)
    tensors = official(*(read(path) for path in paths), paths)
    save_file(tensors, arguments.out, metadata={"format": FORMAT})
    print(f"{arguments.out}: {len(tensors)} tensors, {sum(value.numel() for value in tensors.values()):,} numbers")


if __name__ == "__main__":
    sys.exit(main())
