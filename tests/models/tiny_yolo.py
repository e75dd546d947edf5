"""YOLO models of random weights whose findings are noise, but many, and spread over confidences, classes and places."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def tiny_yolo(architecture: str, path: Path, cache: Path, seen: Any) -> Path:
    """Weights at ``path``, for pictures ``seen`` (n, height, width, 3): norms are set by them so that values stay small and layers nearly linear, which keeps
    float noise from growing; then the last layers are scaled until what they put out is spread widely."""
    import numpy as np
    import torch

    from callboard_vision.engines.quiet_ultralytics import ultralytics

    torch.manual_seed(3)
    yolo = ultralytics(cache).YOLO(architecture)
    network = yolo.model
    given = torch.from_numpy(np.ascontiguousarray(seen[..., ::-1].transpose(0, 3, 1, 2))).float() / 255
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0  # one pass sets it
            torch.nn.init.constant_(layer.weight, 0.3)
    with torch.no_grad():
        network.train()(given)
        network.eval()
        hooks = [
            layer.register_forward_hook(lambda layer, given, output, name=name: _spread(name, layer, output))
            for name, layer in network.named_modules()
            if name.startswith(f"model.{len(network.model) - 1}.") and (name.endswith((".2", ".linear")))
            and isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
        ]  # fmt: skip
        network(given)
    for hook in hooks:
        hook.remove()
    yolo.save(path)
    return path


def _spread(name: str, layer: Any, output: Any) -> None:
    """Of the labels' logits few are above zero; places and the rest go either way."""
    labels = "cv3" in name
    over = (0, 2, 3) if output.dim() == 4 else (0,)
    plain = output - layer.bias.view(1, -1, *[1] * (output.dim() - 2))
    times = (0.7 if labels else 2.0) / float(plain.std(dim=over).mean())
    layer.weight.mul_(times)
    layer.bias.copy_((-2.5 if labels else 0.0) - plain.mean(dim=over) * times)
