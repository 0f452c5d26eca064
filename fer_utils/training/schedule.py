"""The learning rate: its first value, and how it goes on."""

import math

from fer_utils.run_parameters import RunParameters, recipe_batch


def first_rate(params: RunParameters) -> float:
    """`learning_rate`, which with `batch_scaling` is that of the paper's batch, scaled to the images of a step.

    The linear scaling rule (Goyal et al. 2017): k times the images of a step, k times the rate.

    >>> from fer_utils.runs import parameters
    >>> first_rate(parameters({"batch_size": 60, "accumulate": 2, "batch_scaling": True}))  # the recipe's: 30 and 0.01
    0.04
    """
    if not params.batch_scaling:
        return params.learning_rate
    return params.learning_rate * params.batch_size * params.accumulate / recipe_batch(params)


def rate_factor(params: RunParameters, step: int, steps: int) -> float:
    """Learning rate of a step as a multiple of the first one.

    Args:
        params: `schedule` is "halve", every `halve_every` epochs as in the paper, or "cosine", down to 0 at the end;
            over the first `warmup_epochs` it rises in equal steps to what it then is. The cosine begins after that.
        step: from 0.
        steps: of an epoch.

    >>> from fer_utils.runs import parameters
    >>> cosine = parameters({"schedule": "cosine", "epochs": 5, "warmup_epochs": 1})
    >>> [round(rate_factor(cosine, step, steps=2), 3) for step in range(10)]
    [0.5, 1.0, 1.0, 0.962, 0.854, 0.691, 0.5, 0.309, 0.146, 0.038]
    """
    warmup = params.warmup_epochs * steps
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if params.schedule == "halve":
        return rise * 0.5 ** (step // steps // params.halve_every)
    done = max(0.0, step - warmup) / (params.epochs * steps - warmup)
    return rise * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
