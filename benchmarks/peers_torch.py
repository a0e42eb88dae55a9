"""PyTorch's side of the comparison with peers (peers.py): one process that reads commands and answers in JSON, one a
line, and works only between a command and its answer.

    variants CASE                      the ways in which PyTorch can do a case
    load CASE THREADS FOLDER VARIANT   reads weights and inputs from FOLDER, compares results with those written there
    run REPETITIONS                    seconds per run, one number for each repetition
    drop | quit

Cases are named as in cases.hpp. The models are those of the parity tests (tests/fixtures/torch_models.py).

With --device cuda everything lies on that device, cases are named as in cuda_cases.hpp, and a run ends when the device
has done everything. --device cpu tries that mode without a device.
"""
import argparse
import contextlib
import gc
import json
import math
import mmap
import os
import pathlib
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures"))
import torch_models  # noqa: E402

DTYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64}
SHORTEST = 5e-3  # seconds of one measurement, at least
DEVICE = torch.device("cpu")
ALLOWED_CORES = sorted(os.sched_getaffinity(0))


def read_safetensors(path):
    """Tensors by name, and the file's metadata."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8:8 + length])
        metadata = header.pop("__metadata__", {})
        tensors = {}
        for name, entry in header.items():
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = torch.frombuffer(bytearray(data[begin:end]), dtype=DTYPES[entry["dtype"]])
            tensors[name] = tensors[name].reshape(entry["shape"]).to(DEVICE)
    return tensors, metadata


def numbers(text):
    return [int(part) for part in text.split(",")]


def compiled(function, variant):
    """As the variant's name asks for: with products timed and chosen, as CUDA graphs, both, or neither."""
    if "compile" not in variant:
        return function
    mode = {(False, False): None, (True, False): "max-autotune-no-cudagraphs", (False, True): "reduce-overhead",
            (True, True): "max-autotune"}["autotune" in variant, "graphs" in variant]
    return torch.compile(function, mode=mode)


def synchronize():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def captured(run):
    """`run`, which is run some times for that, as one CUDA graph. Without a device: as it is."""
    if DEVICE.type != "cuda":
        for _ in range(3):
            run()
        return run
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


# ------------------------------------------------------------------------------------------------------------ UNet


class ThreeProductConv(nn.Module):
    """A convolution of kernel 3 on two positions, [B, 2, in] to [B, 2, out], as three products in place of six:
    y0 = W1 (x0 + x1) + (W2 - W1) x1, y1 = W1 (x0 + x1) + (W0 - W1) x0."""

    def __init__(self, conv):
        super().__init__()
        self.taps = nn.Parameter(conv.weight.detach().permute(2, 0, 1).contiguous())
        self.bias = nn.Parameter(conv.bias.detach().clone())
        self.prepared = False

    def prepare(self):
        """For inference: the differences are formed once."""
        left, middle, right = self.taps.detach()
        self.register_buffer("middle", middle.contiguous())
        self.register_buffer("left", left - middle)
        self.register_buffer("right", right - middle)
        self.taps = None
        self.prepared = True

    def forward(self, x):
        if self.prepared:
            middle, left, right = self.middle, self.left, self.right
        else:
            left, middle, right = self.taps
            left, right = left - middle, right - middle
        first, second = x[:, 0], x[:, 1]
        common = F.linear(first + second, middle, self.bias)
        return torch.stack((torch.addmm(common, second, right.t()), torch.addmm(common, first, left.t())), dim=1)


class TwoTapConv(nn.Module):
    """A strided convolution of kernel 2, or its transpose, on two positions: each uses one tap per position."""

    def __init__(self, conv):
        super().__init__()
        weight = conv.weight.detach()
        if isinstance(conv, nn.ConvTranspose1d):
            weight = weight.transpose(0, 1)
        self.taps = nn.Parameter(weight.permute(2, 0, 1).contiguous())
        self.bias = nn.Parameter(conv.bias.detach().clone())

    def forward(self, x):
        return torch.stack((F.linear(x[:, 0], self.taps[1], self.bias), F.linear(x[:, 1], self.taps[0], self.bias)), 1)


class ThreeProductUNet(nn.Module):
    """The UNet on [B, 2, channels] with the fewest products. Group norm reads this layout in place."""

    def __init__(self, unet):
        super().__init__()
        self.time = unet.time
        self.diffusion_step_encoder = unet.diffusion_step_encoder

        def conv_block(block):
            conv, norm, _ = block.block
            return nn.ModuleList([ThreeProductConv(conv), norm])

        def residual_block(block):
            parts = [conv_block(block.blocks[0]), conv_block(block.blocks[1]), block.cond_encoder]
            if isinstance(block.residual_conv, nn.Conv1d):
                parts.append(self.pointwise(block.residual_conv))
            return nn.ModuleList(parts)

        def level(modules):
            resample = [TwoTapConv(modules[2].conv)] if hasattr(modules[2], "conv") else []
            return nn.ModuleList([residual_block(modules[0]), residual_block(modules[1]), *resample])

        self.down = nn.ModuleList(level(modules) for modules in unet.down_modules)
        self.middle = nn.ModuleList(residual_block(block) for block in unet.mid_modules)
        self.up = nn.ModuleList(level(modules) for modules in unet.up_modules)
        self.last = conv_block(unet.final_conv[0])
        self.output = self.pointwise(unet.final_conv[1])

    @staticmethod
    def pointwise(conv):
        linear = nn.Linear(conv.in_channels, conv.out_channels)
        linear.weight = nn.Parameter(conv.weight.detach()[:, :, 0].clone())
        linear.bias = conv.bias
        return linear

    def prepare(self):
        for module in self.modules():
            if isinstance(module, ThreeProductConv):
                module.prepare()
        return self

    @staticmethod
    def conv_block(block, x):
        conv, norm = block
        y = conv(x).transpose(1, 2).unsqueeze(3)  # channels-last memory format
        return F.mish(norm(y)).squeeze(3).transpose(1, 2)

    def residual_block(self, block, x, condition):
        scale, bias = block[2](condition)[:, None].chunk(2, dim=2)
        y = self.conv_block(block[1], scale * self.conv_block(block[0], x) + bias)
        return y + (block[3](x) if len(block) > 3 else x)

    def forward(self, x, timesteps, behavior):
        """x [B, 2, channels]."""
        time = self.diffusion_step_encoder(torch_models.sinusoidal_embedding(timesteps, self.time).to(x.dtype))
        condition = torch.cat((time, behavior), dim=1)
        skips = []
        for level in self.down:
            x = self.residual_block(level[1], self.residual_block(level[0], x, condition), condition)
            skips.append(x)
            if len(level) > 2:
                x = level[2](x)
        for block in self.middle:
            x = self.residual_block(block, x, condition)
        for level in self.up:
            x = torch.cat((x, skips.pop()), dim=2)
            x = level[2](self.residual_block(level[1], self.residual_block(level[0], x, condition), condition))
        return self.output(self.conv_block(self.last, x))


def load_unet(folder, model, three_products):
    tensors, sizes = read_safetensors(folder / f"unet.{model}.safetensors")
    unet = torch_models.UNet1d(int(sizes["latent"]), int(sizes["condition"]), tuple(json.loads(sizes["channels"])),
                               int(sizes["kernel"]), int(sizes["groups"]), int(sizes["time"]), device="meta")
    unet.load_state_dict(tensors, assign=True)
    for parameter in unet.parameters():
        parameter.requires_grad_(True)
    return ThreeProductUNet(unet) if three_products else unet


def for_inference(model, variant):
    model.requires_grad_(False).eval()
    if "three" in variant:
        model.prepare()
    if "bf16" in variant:
        model = model.to(torch.bfloat16)
    return compiled(model, variant)


def to_channels_first(x, three_products):
    return x if three_products else x.transpose(1, 2).contiguous()


class Forward:
    def __init__(self, folder, model, inputs, _, variant):
        self.three = "three" in variant
        self.unet = for_inference(load_unet(folder, model, self.three), variant)
        self.x = to_channels_first(inputs["x"], self.three)
        self.conditions = inputs["conditions"]
        self.timesteps = inputs["timestep"].expand(len(self.x)).contiguous()
        self.run = captured(self.run_once) if "captured" in variant else self.run_once

    def run_once(self):
        self.y = self.unet(self.x, self.timesteps, self.conditions)

    def outcome(self):
        return to_channels_first(self.y, self.three)


class Sample:
    """DDIM; epsilon belongs to the estimate before clipping."""

    def __init__(self, folder, model, inputs, metadata, variant):
        self.three = "three" in variant
        self.bf16 = "bf16" in variant
        self.unet = for_inference(load_unet(folder, model, self.three), variant)
        self.noise = to_channels_first(inputs["x"], self.three)
        self.conditions = inputs["conditions"]
        self.epsilon = metadata["prediction"] == "epsilon"
        self.range = float(metadata["clip_range"])
        self.steps = [(t.expand(len(self.noise)).contiguous(), float(a), float(b))
                      for t, a, b in zip(inputs["timesteps"], inputs["alpha_bar"], inputs["alpha_bar_next"])]
        self.run = captured(self.run_once) if "captured" in variant else self.run_once

    def run_once(self):
        x = self.noise
        for timesteps, now, after in self.steps:
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=self.bf16):
                prediction = self.unet(x, timesteps, self.conditions).float()
            signal, noise = math.sqrt(now), math.sqrt(1 - now)
            if self.epsilon:
                epsilon, clean = prediction, (x - noise * prediction) / signal
            else:
                epsilon, clean = (x - signal * prediction) / noise, prediction
            x = math.sqrt(after) * clean.clamp(-self.range, self.range) + math.sqrt(1 - after) * epsilon
        self.x = x

    def outcome(self):
        return to_channels_first(self.x, self.three)


# ---------------------------------------------------------------------------------------------------------- training


class Optimizer:
    """AdamW with decay on matrices only, optional clipping, and a moving average of the weights."""

    def __init__(self, parameters, options, variant):
        self.parameters = list(parameters)
        self.clip = float(options["clip_norm"])
        self.maximum = float(options["ema"])
        self.average = [p.detach().clone() for p in self.parameters] if self.maximum > 0 else None
        decay = float(options["weight_decay"])
        groups = [{"params": [p for p in self.parameters if p.dim() > 1], "weight_decay": decay},
                  {"params": [p for p in self.parameters if p.dim() == 1], "weight_decay": 0.0}]
        self.adamw = torch.optim.AdamW(groups, lr=float(options["learning_rate"]), eps=1e-8,
                                       betas=(float(options["beta1"]), 0.999),
                                       capturable="captured" in variant and DEVICE.type == "cuda",
                                       fused="fused" in variant or None, foreach="foreach" in variant or None)
        self.step_count = 0

    def step(self):
        self.update()
        self.follow()
        self.adamw.zero_grad(set_to_none=True)

    def update(self):
        if self.clip > 0:
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.adamw.step()

    def follow(self):
        """The moving average, whose decay differs from step to step."""
        if self.average:
            decay = min(self.maximum, 1 - (1 + self.step_count)**-0.75)
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        self.step_count += 1


class Training:
    """Steps on `self.loss()`; the outcome is the losses so far."""

    def __init__(self, parameters, options, variant):
        self.optimizer = Optimizer(parameters, options, variant)
        self.losses = []
        self.compute = compiled(self.loss, variant)
        self.run = self.capture() if "captured" in variant else self.run_once

    def run_once(self):
        loss = self.compute()
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())

    def capture(self):
        """A step as one CUDA graph, but for the moving average. What the steps before recording did is undone."""
        before = [p.detach().clone() for p in self.optimizer.parameters]

        def step():
            self.optimizer.adamw.zero_grad(set_to_none=True)
            self.last_loss = self.compute()
            self.last_loss.backward()
            self.optimizer.update()

        replay = captured(step)
        with torch.no_grad():
            torch._foreach_copy_(self.optimizer.parameters, before)
            for state in self.optimizer.adamw.state.values():
                for value in state.values():
                    value.zero_()

        def run():
            replay()
            self.optimizer.follow()
            self.losses.append(self.last_loss.item())
        return run

    def outcome(self):
        return torch.tensor(self.losses)


class Train(Training):
    def __init__(self, folder, model, inputs, metadata, variant):
        self.three = "three" in variant
        self.unet = load_unet(folder, model, self.three)
        self.clean = to_channels_first(inputs["clean"], self.three)
        self.noise = to_channels_first(inputs["noise"], self.three)
        self.conditions, self.timesteps = inputs["conditions"], inputs["timesteps"]
        self.signal = inputs["alpha_bar"].sqrt()[:, None, None]
        self.sigma = (1 - inputs["alpha_bar"]).sqrt()[:, None, None]
        self.epsilon = metadata["prediction"] == "epsilon"
        super().__init__(self.unet.parameters(), metadata, variant)

    def loss(self):
        noisy = self.signal * self.clean + self.sigma * self.noise
        prediction = self.unet(noisy, self.timesteps, self.conditions)
        return F.mse_loss(prediction, self.noise if self.epsilon else self.clean)


class AdamW:
    """The optimizer and the moving average alone, on the UNet's tensors or, flat, on one."""

    def __init__(self, _folder, _model, _inputs, metadata, variant):
        count = int(metadata["parameters"])
        sizes = [count] if "flat" in variant else numbers(metadata["sizes"])
        assert sum(sizes) == count
        self.parameters = [nn.Parameter(part.clone()) for part in self.hashed(2654435761, count).split(sizes)]
        for parameter, gradient in zip(self.parameters, self.hashed(2246822519, count).split(sizes)):
            parameter.grad = gradient.clone()
        self.average = [p.detach().clone() for p in self.parameters]
        self.adamw = torch.optim.AdamW(self.parameters, lr=1e-3, weight_decay=0.01,
                                       fused="fused" in variant or None, foreach="foreach" in variant or None)

    @staticmethod
    def hashed(factor, count):
        """See class AdamW in cases.hpp."""
        values = (torch.arange(count, device=DEVICE) * factor) & 0xFFFFFFFF
        return values.to(torch.float32) * 2**-32 - 0.5

    def run(self):
        self.adamw.step()
        torch._foreach_lerp_(self.average, self.parameters, 0.001)

    def outcome(self):
        """The first thousand weights and averages; the first tensor is larger."""
        return torch.cat([tensors[0].detach().flatten()[:1000] for tensors in (self.parameters, self.average)])


def load_autoencoder(folder, model):
    tensors, sizes = read_safetensors(folder / f"autoencoder.{model}.safetensors")
    autoencoder = torch_models.Autoencoder(tuple(numbers(sizes["tokens"])), int(sizes["latent"]), 0, 1, 1)
    autoencoder.load_state_dict(tensors)
    return autoencoder.to(DEVICE)


class AutoencoderTrain(Training):
    def __init__(self, folder, model, inputs, metadata, variant):
        self.autoencoder = load_autoencoder(folder, model)
        self.inputs = inputs
        super().__init__(self.autoencoder.parameters(), metadata, variant)

    def loss(self):
        latent = self.autoencoder.encode(self.inputs["noisy"]) + self.inputs["latent_noise"]
        return F.mse_loss(self.autoencoder.decode(latent), self.inputs["x"])


class AutoencoderDecode:
    def __init__(self, folder, model, inputs, _, variant):
        autoencoder = load_autoencoder(folder, model).requires_grad_(False)
        self.decode = compiled(autoencoder.decode, variant)
        self.latent = inputs["latent"]

    def run(self):
        self.parameters = self.decode(self.latent)

    def outcome(self):
        return self.parameters


class EmbedderTrain(Training):
    def __init__(self, folder, model, inputs, metadata, variant):
        tensors, _ = read_safetensors(folder / f"embedder.{model}.safetensors")
        hidden, embedding = tensors["phi.0.weight"].shape[0], tensors["metric"].shape[0]
        assert "phi.5.weight" not in tensors, "the normed embedder is not written here"
        self.embedder = torch_models.BehaviorEmbedder(inputs["trajectory"].shape[1], inputs["success"].shape[1],
                                                      embedding, hidden, False)
        self.embedder.load_state_dict(tensors)
        self.embedder.to(DEVICE)
        self.inputs = inputs
        self.targets = torch.arange(len(inputs["trajectory"]), device=DEVICE)
        super().__init__(self.embedder.parameters(), metadata, variant)

    def loss(self):
        _, _, logits = self.embedder(self.inputs["trajectory"], self.inputs["success"])
        return F.cross_entropy(logits, self.targets)


# ---------------------------------------------------------------------------------------------------------- policies

OBSERVATIONS, ACTIONS, HIDDEN = 39, 4, 128


def policy_layers(weights):
    """Views [policies, out, in] and [policies, 1, out] of flat weights: two hidden layers and the mean head."""
    layers, first = [], 0
    for inputs, outputs in ((OBSERVATIONS, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, ACTIONS)):
        middle, last = first + inputs * outputs, first + (inputs + 1) * outputs
        layers.append((weights[:, first:middle].unflatten(1, (outputs, inputs)), weights[:, None, middle:last]))
        first = last
    return layers


def batched_means(layers, observations):
    (w0, b0), (w1, b1), (w2, b2) = layers
    hidden = F.elu(torch.baddbmm(b0, observations, w0.transpose(1, 2)))
    hidden = F.relu(torch.baddbmm(b1, hidden, w1.transpose(1, 2)))
    return torch.baddbmm(b2, hidden, w2.transpose(1, 2))


class OnePolicy(nn.Module):
    def __init__(self, weights):
        super().__init__()
        layers = [nn.Linear(w.shape[2], w.shape[1]) for w, _ in policy_layers(weights)]
        for layer, (weight, bias) in zip(layers, policy_layers(weights)):
            layer.weight = nn.Parameter(weight[0].clone())
            layer.bias = nn.Parameter(bias[0, 0].clone())
        self.layers = nn.ModuleList(layers)

    def forward(self, observation):
        hidden = F.relu(self.layers[1](F.elu(self.layers[0](observation))))
        return torch.tanh(self.layers[2](hidden))


def prepare_policy(weights, variant, example):
    policy = OnePolicy(weights).requires_grad_(False).eval()
    if variant == "compile":
        return torch.compile(policy)
    if variant == "jit":
        import warnings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, but it was the fastest
            return torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(policy, example)))
    return policy


class Act:
    def __init__(self, _folder, _model, inputs, _, variant):
        self.observations = list(inputs["observations"][0].split(1))
        self.policy = prepare_policy(inputs["weights"], variant, self.observations[0])
        self.actions = [None] * len(self.observations)
        self.next = 0

    def run(self):
        self.next = (self.next + 1) % len(self.observations)
        self.actions[self.next] = self.policy(self.observations[self.next])

    def outcome(self):
        return torch.cat(self.actions)


class ActRows:
    def __init__(self, _folder, _model, inputs, _, variant):
        self.observations = inputs["observations"][0]
        self.policy = prepare_policy(inputs["weights"], variant, self.observations)

    def run(self):
        self.actions = self.policy(self.observations)

    def outcome(self):
        return self.actions


class Policies:
    def __init__(self, _folder, _model, inputs, _, variant):
        self.observations = inputs["observations"]
        self.layers = policy_layers(inputs["weights"])
        if "contiguous" in variant:
            self.layers = [(w.contiguous(), b.contiguous()) for w, b in self.layers]
        self.means_of = compiled(batched_means, variant)

    def run(self):
        self.means = self.means_of(self.layers, self.observations)

    def outcome(self):
        return self.means


class Behavior:
    """A loss on actions and its gradient for the weights: of one flat array, or of separate tensors."""

    def __init__(self, _folder, _model, inputs, _, variant):
        flat = inputs["weights"]
        self.separate = "separate" in variant
        if self.separate:
            self.layers = [(w.contiguous().requires_grad_(), b.contiguous().requires_grad_())
                           for w, b in policy_layers(flat)]
            self.leaves = [tensor for layer in self.layers for tensor in layer]
        else:
            self.leaves = [flat.requires_grad_()]
        self.unused = flat.shape[1] - sum(w[0].numel() + b[0].numel() for w, b in policy_layers(flat.detach()))
        self.observations, self.targets = inputs["observations"], inputs["targets"]
        self.compute = compiled(self.loss, variant)

    def loss(self):
        layers = self.layers if self.separate else policy_layers(self.leaves[0])
        return F.mse_loss(batched_means(layers, self.observations), self.targets)

    def run(self):
        self.value = self.compute()
        self.gradients = torch.autograd.grad(self.value, self.leaves)
        if DEVICE.type == "cuda":
            self.value.item()  # as ours, which returns the loss

    def outcome(self):
        flat = torch.cat([gradient.flatten(1) for gradient in self.gradients], dim=1)
        if self.separate:
            flat = F.pad(flat, (0, self.unused))  # the log_std head
        return torch.cat((flat.flatten(), self.value.detach()[None]))


# --------------------------------------------------------------------------------------------------------- the server

OPTIMIZERS = ["eager-foreach", "eager-fused"]
INFERENCE = ["eager", "compile", "three-products", "three-products-compile"]
TRAINING = [*OPTIMIZERS, "compile-fused"]
# Case kind: class, its ways, and whether gradients are wanted.
KINDS = {
    "forward": (Forward, INFERENCE, False),
    "sample": (Sample, INFERENCE, False),
    "sample_bf16": (Sample, [*INFERENCE, "bf16"], False),
    "sample_bf16_units": (Sample, [*INFERENCE, "bf16"], False),
    "train": (Train, [*TRAINING, "three-products-fused", "three-products-compile-fused"], True),
    "adamw": (AdamW, ["foreach", "fused", "fused-flat"], True),
    "autoencoder_train": (AutoencoderTrain, TRAINING, True),
    "autoencoder_decode": (AutoencoderDecode, ["eager", "compile"], False),
    "embedder_train": (EmbedderTrain, TRAINING, True),
    "act": (Act, ["eager", "jit", "compile"], False),
    "act_bf16": (Act, ["eager", "jit"], False),
    "act_rows": (ActRows, ["eager", "jit", "compile"], False),
    "policies": (Policies, ["baddbmm", "baddbmm-contiguous", "baddbmm-compile"], False),
    "behavior": (Behavior, ["baddbmm", "baddbmm-separate", "baddbmm-separate-compile"], True),
}

# On a device: fewer hands are needed, for launches cost more than arithmetic, and graphs save them.
CAPTURED = ["captured", "three-products-captured"]
COMPILED = ["compile-graphs", "compile-autotune", "compile-autotune-graphs"]
DEVICE_INFERENCE = ["eager", *CAPTURED, *COMPILED, "three-products-compile-graphs",
                    "three-products-compile-autotune-graphs"]
DEVICE_TRAINING = ["eager-foreach", "eager-fused", "captured-fused", *(f"{way}-fused" for way in COMPILED)]
DEVICE_KINDS = {
    "forward": (Forward, DEVICE_INFERENCE, False),
    "sample": (Sample, DEVICE_INFERENCE, False),
    "sample_bf16": (Sample, [f"{way}-bf16" for way in DEVICE_INFERENCE], False),
    "train": (Train, [*DEVICE_TRAINING, "three-products-captured-fused", "three-products-compile-graphs-fused"], True),
    "adamw": (AdamW, ["foreach", "fused", "fused-flat"], True),
    "autoencoder_train": (AutoencoderTrain, DEVICE_TRAINING, True),
    "autoencoder_decode": (AutoencoderDecode, ["eager", *COMPILED], False),
    "embedder_train": (EmbedderTrain, DEVICE_TRAINING, True),
    "behavior": (Behavior, ["baddbmm", "baddbmm-separate", *(f"baddbmm-separate-{way}" for way in COMPILED)], True),
    "policies": (Policies, ["baddbmm", "baddbmm-contiguous", *(f"baddbmm-{way}" for way in COMPILED)], False),
}


def use_device(name):
    """Everything lies there from now on."""
    global DEVICE, SHORTEST, KINDS
    DEVICE, KINDS = torch.device(name), DEVICE_KINDS
    SHORTEST = 0.1 if DEVICE.type == "cuda" else 0
    torch.backends.cudnn.benchmark = True
    frequencies = {}

    def sinusoidal_embedding(timesteps, size):
        """That of torch_models, which makes its frequencies anew on the CPU each time."""
        if size not in frequencies:
            half = size // 2
            values = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float64) / (half - 1))
            frequencies[size] = values.to(DEVICE)
        angles = timesteps.double()[:, None] * frequencies[size]
        return torch.cat((angles.sin(), angles.cos()), dim=1)
    torch_models.sinusoidal_embedding = sinusoidal_embedding


def use_arithmetic(kind):
    """Tensor floats for the kinds that have them in their name, and the kind as KINDS knows it."""
    tf32 = kind.endswith("_tf32")
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    return kind.removesuffix("_tf32")


class Server:
    def __init__(self, on_device):
        self.on_device = on_device
        self.case, self.mode, self.runs = None, contextlib.nullcontext, 1

    def variants(self, name):
        kind = name.split("/")[0]
        if self.on_device:
            kind = kind.removesuffix("_tf32")
        return {"variants": KINDS[kind][1] if kind in KINDS else []}

    def load(self, name, threads, folder, variant):
        self.drop()
        torch.set_num_threads(int(threads))
        os.sched_setaffinity(0, ALLOWED_CORES[:1] if threads == "1" else ALLOWED_CORES)
        parts = name.split("/")
        kind = use_arithmetic(parts[0]) if self.on_device else parts[0]
        make, variants, gradients = KINDS[kind]
        assert variant in variants, f"{kind}: expected one of {variants}, found {variant}"
        folder = pathlib.Path(folder)
        inputs, metadata = read_safetensors(folder / f"{name.replace('/', '.')}.safetensors")
        # Compiled code wants no_grad: inference_mode keeps it from folding weights.
        inference = torch.no_grad if "compile" in variant else torch.inference_mode
        self.mode = contextlib.nullcontext if gradients else inference
        torch._inductor.config.freezing = "compile" in variant and not gradients and not self.on_device
        started = time.perf_counter()
        with self.mode():
            self.case = make(folder, parts[1] if len(parts) > 1 else "", inputs, metadata, variant)
            for _ in range(int(metadata["runs"])):
                self.case.run()
            found, expected = self.case.outcome().detach().flatten().double(), inputs["outcome"].double()
        assert found.shape == expected.shape, f"expected {len(expected)} results, found {len(found)}"
        difference = ((found - expected).abs().max() / expected.abs().max()).item()
        self.time_runs(1)
        self.runs = max(1, int(SHORTEST / self.time_runs(1)) + 1)
        return {"loaded": name, "difference": difference, "seconds_to_load": time.perf_counter() - started}

    def run(self, repetitions):
        return {"seconds": [self.time_runs(self.runs) for _ in range(int(repetitions))]}

    def time_runs(self, count):
        run = self.case.run
        with self.mode():
            if self.on_device:
                for _ in range(3):  # clocks rise
                    run()
                synchronize()
            start = time.perf_counter()
            for _ in range(count):
                run()
                synchronize()
            return (time.perf_counter() - start) / count

    def drop(self):
        self.case = None
        torch._dynamo.reset()
        gc.collect()
        if DEVICE.type == "cuda":
            torch.cuda.empty_cache()
        return {"dropped": True}


def versions():
    text = f"PyTorch {torch.__version__}"
    if DEVICE.type == "cuda":
        text += f", CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, {torch.cuda.get_device_name()}"
    return text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", help="cuda, or cpu to try that mode")
    device = parser.parse_args().device
    if device:
        use_device(device)
    server = Server(bool(device))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "quit":
            break
        if command == "versions":
            answer = {"versions": versions()}
        else:
            try:
                answer = getattr(server, command)(*arguments)
            except Exception as error:  # the driver records why a variant cannot run
                answer = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
