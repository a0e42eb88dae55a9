"""A generator trained in PyTorch for what its policies do: the peer of benchmarks/training.sh.

    training_torch.py DATASET --skip TASK ... [--steps N] [--threads N] [--compile]

The same data, batches, augmentation, head and loss as BehaviorRecipe, but with a smaller network, as one would
write it for this purpose: prompts -> latent -> weights without a diffusion model between them. Prints the seconds of
training, without reading the data, and the loss.
"""
import argparse
import collections
import json
import time

import numpy as np
import torch
from torch import nn

OBSERVATIONS, ACTIONS, HIDDEN = 39, 4, 128
PROMPTS, QUERIES, PAIRS, SEQUENCE, LATENT = 24, 96, 60, 3, 128
POSITIONS = (0, 4, 11, 18, 22, 29, 36)
LAYERS = {"layers.0": (OBSERVATIONS, HIDDEN), "layers.1": (HIDDEN, HIDDEN), "mean": (HIDDEN, ACTIONS)}


def read_dataset(path):
    with open(path, "rb") as file:
        header_size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_size))
        data = file.read()
    metadata = header.pop("__metadata__")
    types = {"F32": np.float32, "I64": np.int64}
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        arrays[name] = np.frombuffer(data[begin:end], types[entry["dtype"]]).reshape(entry["shape"])
    return arrays, [metadata[f"task.{i}"] for i in range(int(metadata["task_count"]))]


class Task:
    """A task's states with the expert's actions, and its demonstrations: PAIRS steps spread over each."""

    def __init__(self, arrays, number):
        ends = np.cumsum(arrays["trajectory_length"])
        target_ends = np.cumsum(arrays["trajectory_length"] * arrays["trajectory_has_targets"])
        states, labels, prompts = [], [], []
        for i in np.flatnonzero(arrays["trajectory_task"] == number):
            length, success = int(arrays["trajectory_length"][i]), int(arrays["trajectory_success"][i])
            o = arrays["observations"][ends[i] - length:ends[i]]
            a = arrays["actions"][ends[i] - length:ends[i]]
            states.append(o)
            labels.append(arrays["target_actions"][target_ends[i] - length:target_ends[i]])
            if success >= 0 and length >= PAIRS:
                chunks = PAIRS // SEQUENCE
                starts = (length - SEQUENCE) * np.arange(chunks) // (chunks - 1)
                steps = (starts[:, None] + np.arange(SEQUENCE)).ravel()
                after = np.minimum(success + 1 + np.arange(SEQUENCE), length - 1)
                prompts.append((o[steps], a[steps], o[after]))
        self.states, self.labels = (torch.from_numpy(np.concatenate(x)) for x in (states, labels))
        self.prompts = [torch.from_numpy(np.stack(x)) for x in zip(*prompts)] if prompts else None


def draw(tasks):
    """Prompts (observations, actions, states after success), and states and actions of other scenes."""
    samples = collections.defaultdict(list)
    for k in torch.randint(len(tasks), (PROMPTS,)).tolist():
        task = tasks[k]
        row = int(torch.randint(len(task.prompts[0]), (1,)))
        query = torch.randint(len(task.states), (QUERIES,))
        for i, x in enumerate((task.prompts[0][row], task.prompts[1][row], task.prompts[2][row], task.states[query],
                               task.labels[query])):
            samples[i].append(x)
    po, pa, pv, o, a = (torch.stack(samples[i]) for i in range(5))
    side = torch.where(torch.rand(PROMPTS, 1, 1) < 0.5, -1.0, 1.0)
    offset = torch.randn(PROMPTS, 1, 3) * torch.tensor([0.05, 0.05, 0.02])

    def move(x):
        x = x.clone()
        for first in POSITIONS:
            block = x[..., first:first + 3]
            there = (block != 0).any(-1, keepdim=True)
            block[..., :1] *= side
            block += torch.where(there, offset, 0.0)
        return x

    turn = torch.cat([side, torch.ones(PROMPTS, 1, ACTIONS - 1)], 2)
    pa = pa * turn + 0.05 * torch.randn_like(pa)
    return move(po), pa, move(pv), move(o), a * turn


class Generator(nn.Module):
    def __init__(self, base, deviations, mean, scale):
        super().__init__()
        features = PAIRS // SEQUENCE * (OBSERVATIONS + SEQUENCE * ACTIONS) + SEQUENCE * OBSERVATIONS
        self.encoder = nn.Sequential(nn.Linear(features, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
                                     nn.Linear(512, LATENT))
        self.base = nn.Parameter(base)
        self.change = nn.Parameter(torch.randn(LATENT, len(base)) * 0.05)
        self.log_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("deviations", deviations)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def weights(self, po, pa, pv):
        x = torch.cat([torch.cat([po[:, ::SEQUENCE], pa.reshape(len(pa), -1, SEQUENCE * ACTIONS)], 2).flatten(1),
                       pv.flatten(1)], 1).clamp(-4, 4)
        flat = self.base + (self.encoder(x) @ self.change) * self.deviations
        parts, at = {}, 0
        for name, (inputs, outputs) in LAYERS.items():
            parts[name] = (flat[:, at:at + inputs * outputs].reshape(-1, outputs, inputs),
                           flat[:, at + inputs * outputs:at + (inputs + 1) * outputs])
            at += (inputs + 1) * outputs
        return parts

    def forward(self, po, pa, pv, o):
        po, pv, o = ((x - self.mean) * self.scale for x in (po, pv, o))
        parts = self.weights(po, pa, pv)

        def layer(name, x):
            weight, bias = parts[name]
            return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))

        def hidden(x):
            return torch.relu(layer("layers.1", nn.functional.elu(layer("layers.0", x))))

        # The head's change that fits the prompt, with shrinkage, in closed form.
        phi = hidden(po)
        raw = layer("mean", phi)
        residual = torch.atanh(pa.clamp(-0.95, 0.95)) - raw.clamp(-3, 3)
        residual = torch.where((pa.abs() > 0.95) & (raw * pa > 1.83), 0.0, residual)
        phi = nn.functional.pad(phi, (0, 1), value=1.0)
        system = phi @ phi.transpose(1, 2) + 10 * self.log_strength.exp() * torch.eye(PAIRS)
        change = phi.transpose(1, 2) @ torch.cholesky_solve(residual, torch.linalg.cholesky(system))
        x = hidden(o)
        return torch.tanh(layer("mean", x) + nn.functional.pad(x, (0, 1), value=1.0) @ change)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("--skip", nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    arrays, names = read_dataset(arguments.dataset)
    tasks = [Task(arrays, i) for i, name in enumerate(names) if name not in arguments.skip]
    tasks = [task for task in tasks if task.prompts]
    states = torch.cat([task.states for task in tasks])
    deviation = states.std(0)
    mean, scale = states.mean(0), torch.where(deviation < 1e-3, 1.0, 1 / deviation.clamp(min=0.03))
    # The zoo's policies for normalised observations, without the heads that nothing here uses.
    count = sum((inputs + 1) * outputs for inputs, outputs in LAYERS.values())
    zoo = torch.from_numpy(arrays["weights"][:, :count].copy())
    first = zoo[:, :OBSERVATIONS * HIDDEN].reshape(-1, HIDDEN, OBSERVATIONS)
    zoo[:, OBSERVATIONS * HIDDEN:(OBSERVATIONS + 1) * HIDDEN] += first @ mean
    first /= scale
    deviations, at = torch.empty(count), 0
    for inputs, outputs in LAYERS.values():
        for size in (inputs * outputs, outputs):
            deviations[at:at + size] = (zoo[:, at:at + size] - zoo[:, at:at + size].mean(0)).std()
            at += size
    model = Generator(zoo.mean(0), deviations, mean, scale)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999))
    forward = torch.compile(model) if arguments.compile else model
    if arguments.compile:  # before the clock runs
        po, pa, pv, o, a = draw(tasks)
        (forward(po, pa, pv, o) - a).square().mean().backward()
        optimizer.zero_grad()
    started, smooth = time.monotonic(), None
    for step in range(arguments.steps):
        rate = min(1, (step + 1) / 80) * 0.5 * (1 + np.cos(np.pi * step / arguments.steps))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate
        po, pa, pv, o, a = draw(tasks)
        loss = (forward(po, pa, pv, o) - a).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
    print(json.dumps({"torch": torch.__version__, "tasks": len(tasks), "steps": arguments.steps, "loss": smooth,
                      "seconds": time.monotonic() - started}))


if __name__ == "__main__":
    main()
