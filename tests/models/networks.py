"""Oracles: the papers' networks as plain functions, and weights that exercise every part."""

import torch
import torch.nn.functional as F
from torch import nn


def randomise(module, seed=0):
    """Random weights and batch-norm statistics that keep activations in range; in place."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=random) + 0.5)
            elif tensor.ndim in (2, 4):
                fan_in = tensor[0].numel() ** 0.5
                tensor.copy_(torch.randn(tensor.shape, generator=random) / fan_in)
            elif "input." not in name and tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=random) * 0.2
                tensor.copy_(noise + name.endswith("weight"))
    return module.eval()


def tensors_of(backbone):
    """Its tensors as published files have them: torchvision's names, no counters, in RGB."""
    own = ("tracked", "input.scale", "input.shift")
    state = backbone.state_dict().items()
    return {name: tensor.clone() for name, tensor in state if not name.endswith(own)}


def _norm(x, state, name):
    scale = state[f"{name}.weight"] / (state[f"{name}.running_var"] + 1e-5).sqrt()
    shift = state[f"{name}.bias"] - state[f"{name}.running_mean"] * scale
    return x * scale[:, None, None] + shift[:, None, None]


def _block(x, state, name, step, convolutions):
    """A residual block of (stride, padding) each, squeeze-and-excitation where `state` has it."""
    out = x
    for number, (stride, padding) in enumerate(convolutions, start=1):
        out = F.relu(out) if number > 1 else out
        out = F.conv2d(out, state[f"{name}.conv{number}.weight"], stride=stride, padding=padding)
        out = _norm(out, state, f"{name}.bn{number}")
    if f"{name}.se.fc1.weight" in state:
        gate = out.mean((2, 3))
        for layer, activation in (("fc1", torch.relu), ("fc2", torch.sigmoid)):
            weight, bias = (state[f"{name}.se.{layer}.{part}"] for part in ("weight", "bias"))
            gate = activation(F.linear(gate, weight.flatten(1), bias))
        out = out * gate[:, :, None, None]
    if f"{name}.downsample.0.weight" in state:
        x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=step)
        x = _norm(x, state, f"{name}.downsample.1")
    return F.relu(x + out)


def bottlenecks(state, images, stride, pool):
    """A ResNet of bottlenecks: pooled features."""
    x = F.conv2d(images, state["conv1.weight"], stride=2, padding=3)
    x = F.relu(_norm(x, state, "bn1"))
    if pool == "padded":
        x = F.max_pool2d(x, 3, 2, padding=1)
    else:  # windows over the right and lower edge are cut off there
        height, width = (1 - size % 2 for size in x.shape[2:])
        x = F.max_pool2d(F.pad(x, (0, width, 0, height), value=-torch.inf), 3, 2)
    for layer in (1, 2, 3, 4):
        block = 0
        while f"layer{layer}.{block}.conv1.weight" in state:
            step = 2 if layer > 1 and block == 0 else 1
            first, second = (step, 1) if stride == "conv1" else (1, step)
            parts = ((first, 0), (second, 1), (1, 0))
            x = _block(x, state, f"layer{layer}.{block}", step, parts)
            block += 1
    return x.mean((2, 3))


def small(state, pixels):
    """The small networks, of RGB pixels from 0 to 1: standardised, folded, four residual blocks."""
    grey = pixels.mean(1, keepdim=True)
    deviation, mean = torch.std_mean(grey, dim=(1, 2, 3), correction=0, keepdim=True)
    grey = (grey - mean) / (deviation + 0.03)
    x = torch.cat([grey[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], dim=1)
    x = F.relu(_norm(F.conv2d(x, state["conv1.weight"], padding=1), state, "bn1"))
    for name, step in (("layer1.0", 1), ("layer2.0", 2), ("layer2.1", 1), ("layer3.0", 2)):
        x = _block(x, state, name, step, ((step, 1), (1, 1)))
    return x.mean((2, 3))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
