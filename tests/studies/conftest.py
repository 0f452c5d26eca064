"""A study of finished runs, written without training."""

import numpy as np
import pandas as pd
import pytest
import yaml

from fer_utils import datasets, metrics, studies
from fer_utils.core import LOG_PROBABILITIES, Run, parameters

STUDY = {"title": "t", "note": "n", "seeds": [0, 1], "variants": {"one": {}, "two": {}}}


def write_run(root, study, name, seed, skill=1.0, images=64, evaluation="test", prefix="", **own):
    """A finished run whose predictions are right the more often the higher its skill."""
    run = Run(study, name, root)
    own |= {"study": study, "run": name, "seed": seed, "evaluation": evaluation}
    params = parameters(own)
    run.folder.mkdir(parents=True)
    run.start(params)
    labels = np.arange(images) % 8
    rng = np.random.default_rng([seed, int(10 * skill)])
    logits = rng.normal(size=(images, 8)) + skill * np.eye(8)[labels]
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    table = pd.DataFrame(log_p.astype(np.float16), columns=LOG_PROBABILITIES)
    table.insert(0, "label", labels)
    table.insert(0, "image", [f"{prefix}{number:03d}.png" for number in range(images)])
    table.insert(0, "split", evaluation)
    table.to_parquet(run.path("predictions.parquet"))
    manifest = table[["image", "label", "split"]].copy()
    manifest.attrs = {"dataset": "folder", "root": "/images"}
    datasets.write_manifest(manifest, run.path("manifest.parquet"))
    history = {"epoch": [1, 2], "train_loss": [2.0, 1.0], "seconds": [1.5, 1.25]}
    pd.DataFrame(history).to_csv(run.path("history.csv"), index=False)
    run.write_json("architecture.json", {"architecture": "small_se_resnet"})
    scores = metrics.evaluate(labels, np.exp(log_p))
    run.write_json(
        "metrics.json",
        {name: value for name, value in scores.items() if np.isscalar(value)}
        | {f"{evaluation}_images": images, "seconds": 2.75, "best_epoch": 2},
    )
    return run


@pytest.fixture
def root(tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "experiments/mine.yaml").write_text(yaml.safe_dump(STUDY))
    for seed in (0, 1):
        write_run(tmp_path, "mine", f"one-seed{seed}", seed, skill=1.0)
        write_run(tmp_path, "mine", f"two-seed{seed}", seed, skill=3.0)
    return tmp_path


@pytest.fixture
def study(root):
    return studies.load_study("mine", root)
