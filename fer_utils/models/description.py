"""What a network is, read from the live model: what Table 2 and Fig. 1 are made of."""

import torch

from fer_utils.errors import InputError
from fer_utils.models.fernet import FERNet
from fer_utils.models.stages import Stage

MIN_IMAGE_SIZE = 32

# The network of Tables 5 and 6 that an architecture stands for.
BASES = {"se_resnet50": "se_resnet50", "se_resnet14": "se_resnet50", "resnet50": "resnet50", "resnet14": "resnet50"}


@torch.no_grad()
def describe(model: FERNet, image_size: int | tuple[int, int]) -> dict:
    """Describe the live model: stages, output sizes of a real forward pass, parameters, what is frozen (Table 2).

    Args:
        model: not changed.
        image_size: side, or (height, width), in pixels; at least 32.

    Returns:
        JSON-serialisable dict: `base`, `architecture`, `image_size`, `frozen_stages`, `embedding_dim`, `num_classes`,
        and `stages`, a list of dicts with `name`, `modules`, `repeat`, `output` ([channels, height, width],
        [tokens, length] or [length]), `parameters`, `frozen`.

    Raises:
        InputError: for an image below 32 pixels.

    >>> describe(FERNet("se_resnet14"), 64)["stages"][0]["output"]
    [64, 32, 32]
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < MIN_IMAGE_SIZE:
        raise InputError(f"expected an image_size of at least {MIN_IMAGE_SIZE} pixels; found {image_size}")
    rows = [
        (f"stage {number}", *stage.describe(), stage, stage.blocks[-1])
        for number, stage in enumerate(model.stages(), start=1)
    ]
    for name, modules, layer in (
        ("embedding", f"{model.backbone.pooling}, fully connected", model.embedding),
        ("output", "fully connected, softmax", model.output),
    ):
        rows.append((name, modules, 1, Stage([layer]), layer))

    outputs = {}

    def keep(name: str, stage: Stage):
        def hook(module, args, out):
            sizes = list(out.shape[1:])
            outputs[name] = [sizes[-1], *sizes[:-1]] if stage.channels_last else sizes

        return hook

    hooks = [last.register_forward_hook(keep(name, stage)) for name, _, _, stage, last in rows]
    training = model.training
    try:
        model.eval()(next(model.parameters()).new_zeros(1, 3, height, width))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()

    stages = []
    for name, modules, repeat, stage, _ in rows:
        parameters = list(stage.parameters())
        stages.append(
            {
                "name": name,
                "modules": modules,
                "repeat": repeat,
                "output": outputs[name],
                "parameters": sum(parameter.numel() for parameter in parameters),
                "frozen": not any(parameter.requires_grad for parameter in parameters),
            }
        )
    return {
        "base": BASES.get(model.backbone.architecture, model.backbone.architecture),
        "architecture": model.backbone.architecture,
        "image_size": image_size,
        "frozen_stages": model.frozen_stages,
        "embedding_dim": model.embedding_dim,
        "num_classes": model.num_classes,
        "stages": stages,
    }
