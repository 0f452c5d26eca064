"""What has to stand beside a study's numbers: how they were made, what is missing, and that the paper's are others."""

import pandas as pd

from fer_utils.errors import InputError
from fer_utils.paper.values import BASES, MODELS, RECIPE, TRAINING_COUNTS


def missing_runs(runs: pd.DataFrame, models, seeds) -> list[str]:
    """Runs that the study plans and that have no row.

    Args:
        runs: a study's `runs.csv`.
        models, seeds: of its `study.json`.

    >>> missing_runs(pd.DataFrame({"model": [6], "seed": [0]}), models=[6, 10], seeds=[0])
    ['model 10, seed 0']
    """
    done = set(zip(runs["model"], runs["seed"], strict=True))
    return [f"model {number}, seed {seed}" for number in sorted(models) for seed in seeds if (number, seed) not in done]


def split_diverged(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows that were evaluated, and those whose training diverged before there was anything to evaluate.

    Args:
        runs: a study's `runs.csv`; without a column `diverged_in` none diverged.

    >>> evaluated, diverged = split_diverged(pd.DataFrame({"run": ["a", "b", "c"], "diverged_in": [1, 2, None]}))
    >>> evaluated["run"].tolist(), diverged["run"].tolist()
    (['b', 'c'], ['a'])
    """
    nothing = runs.reindex(columns=["diverged_in"])["diverged_in"] == 1
    return runs[~nothing], runs[nothing]


def say_diverged(diverged: pd.DataFrame) -> str:
    """A sentence that names runs whose training diverged before there was anything to evaluate; "" without any.

    Args:
        diverged: their rows of `runs.csv`.

    >>> say_diverged(pd.DataFrame({"run": ["model12-seed0", "model12-seed1"]}))
    ' Training diverged in the first epoch, nothing to evaluate: model12-seed0, model12-seed1.'
    """
    if diverged.empty:
        return ""
    return f" Training diverged in the first epoch, nothing to evaluate: {', '.join(diverged['run'])}."


def say_protocol(runs: pd.DataFrame, models, seeds, diverged: pd.DataFrame | None = None) -> str:
    """The end of a caption: images, seeds, how the epoch was chosen, and what is missing.

    Args:
        runs: a study's `runs.csv`.
        models, seeds: of its `study.json`.
        diverged: rows of `runs.csv` whose training diverged before there was anything to evaluate.

    >>> run = {"model": 6, "seed": 0, "test_images": 800, "dataset": "synthetic", "selection": "f1"}
    >>> say_protocol(pd.DataFrame([run]), [6, 10], [0])
    'n = 800 test images (synthetic); 1 seed; best epoch by validation F1. Missing: model 10, seed 0.'
    """
    images = " and ".join(f"{count:,}" for count in sorted(runs["test_images"].unique()))
    count = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}"
    chosen = " and ".join({"f1": "F1"}.get(name, name) for name in sorted(runs["selection"].unique()))
    data = " and ".join(runs["dataset"].unique())
    text = f"n = {images} test images ({data}); {count}; best epoch by validation {chosen}."
    if diverged is not None:
        text += say_diverged(diverged)
        runs = pd.concat([runs, diverged])
    missing = missing_runs(runs, models, seeds)
    return f"{text} Missing: {'; '.join(missing)}." if missing else text


def say_reduced(runs: pd.DataFrame) -> str:
    """What has to stand beside every published value unless the study is of the paper's size; "" where it is.

    Args:
        runs: a study's `runs.csv`.

    >>> run = {"model": 6, "dataset": "affectnet", "image_size": 224, "train_images": 283_651}
    >>> say_reduced(pd.DataFrame([run | {"architecture": "se_resnet50"}]))
    ''
    >>> say_reduced(pd.DataFrame([run | {"architecture": "se_resnet14", "image_size": 48}]))[:40]
    'Reduced size: affectnet, 283,651 trainin'
    """
    full = {"dataset": ["affectnet"], "image_size": [RECIPE["image_size"]], "train_images": [sum(TRAINING_COUNTS)]}
    same_networks = [MODELS[number].base for number in runs["model"]] == runs["architecture"].tolist()
    if same_networks and all(runs[key].unique().tolist() == value for key, value in full.items()):
        return ""
    kinds = runs[["dataset", "train_images", "image_size", "architecture"]].drop_duplicates()
    ours = "; ".join(
        f"{dataset}, {images:,} training images, {size} px, {network}"
        for dataset, images, size, network in kinds.itertuples(index=False)
    )
    bases = " and ".join(BASES[base] for base in BASES if base in {MODELS[number].base for number in runs["model"]})
    return (
        f"Reduced size: {ours}. Published values are AffectNet's ({sum(TRAINING_COUNTS):,} training images, "
        f"{RECIPE['image_size']} px, {bases}), another task; compare the order of the losses, not the numbers."
    )


def check_paper_models(about: dict) -> None:
    """Refuse a study that compares variants instead of running the paper's models.

    Args:
        about: its `study.json`.

    Raises:
        InputError: for a study without models of the paper.

    >>> check_paper_models({"study": "mine", "models": []})
    Traceback (most recent call last):
    fer_utils.errors.InputError: expected a study of the paper's models, found one of variants (mine); draw it with \
notebook 08_compare_losses, or list models 1–20 in experiments/mine.yaml
    """
    if not about["models"]:
        name = about["study"]
        raise InputError(
            f"expected a study of the paper's models, found one of variants ({name}); draw it with notebook "
            f"08_compare_losses, or list models 1–20 in experiments/{name}.yaml"
        )


def say_verdicts(claims: pd.DataFrame) -> str:
    """The page's first lines: what may be said of the paper's loss against the weights alone, a line a base and start.

    Args:
        claims: what `paired_claims` returns. Where the study did not plan that comparison, all of its claims are said.

    >>> claim = {"base": "resnet50", "pretrained": True, "loss_a": "weighted_softmax", "loss_b": "weighted_cluster"}
    >>> say_verdicts(pd.DataFrame([claim | {"verdict": "Not told from noise."}]))
    '- **ResNet-50, pre-trained.** Not told from noise.'
    """
    if claims.empty:
        return "The study plans no two losses under equal conditions, so nothing follows about the losses."
    central = claims[(claims["loss_a"] == "weighted_softmax") & (claims["loss_b"] == "weighted_cluster")]
    return "\n".join(
        f"- **{BASES[row.base]}, {'pre-trained' if row.pretrained else 'from scratch'}.** {row.verdict}"
        for row in (claims if central.empty else central).itertuples()
    )
