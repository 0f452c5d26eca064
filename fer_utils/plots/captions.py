"""What a figure must say about the runs that it shows."""

import textwrap

import pandas as pd

from fer_utils.errors import check_choice
from fer_utils.paper import BASES, MODELS, models_of


def of_base(runs: pd.DataFrame, base: str) -> pd.DataFrame:
    """The runs of one base of the paper.

    Args:
        runs: `runs.csv`.
        base: `se_resnet50` or `resnet50`, the paper's.

    Raises:
        InputError: for another base, or one that was not run.

    >>> of_base(pd.DataFrame({"model": [6, 16]}), "resnet50")["model"].tolist()
    [16]
    """
    bases = [MODELS[number].base for number in runs["model"]]
    check_choice("base of this study", base, dict.fromkeys(bases))
    return runs[[own == base for own in bases]]


def count_seeds(runs: pd.DataFrame) -> str:
    """How many seeds the models have.

    >>> count_seeds(pd.DataFrame({"model": [6, 6, 10]})), count_seeds(pd.DataFrame({"model": [6]}))
    ('1–2 seeds', '1 seed')
    """
    counts = runs.groupby("model").size()
    if counts.max() == 1:
        return "1 seed"
    return f"{counts.max()} seeds" if counts.min() == counts.max() else f"{counts.min()}–{counts.max()} seeds"


def say_what_ran(runs: pd.DataFrame, base: str, width: int = 140) -> str:
    """The line above a figure: the paper's models, what stood in for them, and which are missing.

    Args:
        runs: runs of one base.
        base: `se_resnet50` or `resnet50`.
        width: characters that fit in a line.

    >>> runs = pd.DataFrame({"model": range(1, 10), "architecture": "se_resnet14", "image_size": 48})
    >>> say_what_ran(runs, "se_resnet50")
    "The paper's SE-ResNet-50 models, run as se_resnet14 at 48 px, 1 seed. No result: model 10."
    """
    ran = " and ".join(runs["architecture"].unique())
    sizes = " and ".join(map(str, runs["image_size"].unique()))
    text = f"The paper's {BASES[base]} models, run as {ran} at {sizes} px, {count_seeds(runs)}."
    missing = [str(number) for number in models_of(runs) if number not in set(runs["model"])]
    if missing:
        text += f" No result: model{'s' if len(missing) > 1 else ''} {', '.join(missing)}."
    seeds = runs.groupby("model").size()
    fewer = [f"model {number} ({count})" for number, count in seeds.items() if count < seeds.max()]
    if fewer:
        text += f" Fewer seeds: {', '.join(fewer)}."
    return textwrap.fill(text, width)
