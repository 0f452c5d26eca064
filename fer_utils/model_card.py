"""The model card of a finished run: what the network is, how it was made, what it can and cannot do, in Markdown.

Every number comes from the run's own files; nothing here imports torch.
"""

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open

from fer_utils import paper
from fer_utils.datasets import class_counts, read_manifest
from fer_utils.errors import InputError, check_choice
from fer_utils.expressions import EXPRESSIONS
from fer_utils.files import replaced
from fer_utils.metrics import wilson_interval
from fer_utils.runs import PACKAGES, Run

FEW_IMAGES = 50  # of a class: with 50, a recall of a half is known to ± 13 points
NAMES = {**paper.METRICS, "macro_recall": "Macro recall"}
DEFINITIONS = {
    "accuracy": "share of images predicted right",
    "f1": "mean over classes of the harmonic mean of precision and recall",
    "kappa": "Cohen's: agreement with the labels beyond chance",
    "alpha": "Krippendorff's: the same, with labels and predictions as two raters",
    "auc_pr": "mean over classes of the area under precision and recall (average precision)",
    "auc": "mean over classes of the area under the ROC curve",
    "macro_recall": "mean over classes of the recall",
}


def model_card(run: Run) -> str:
    """The card as Markdown.

    Args:
        run: a finished run, of expressions or of identities.

    Returns:
        Sections: what it is, data and protocol, intended use, figures, limits, how to load it, environment.

    Raises:
        InputError: for an unknown or unfinished run.

    >>> model_card(Run("explore", "first", root="/nowhere"))
    Traceback (most recent call last):
    fer_utils.errors.InputError: expected a finished run, found no run explore/first and no other that has finished; \
train one with 03_fine_tune
    """
    check_finished(run)
    sections = [_title, _what_it_is, _data_and_protocol, _intended_use, _figures, _limits, _how_to_load, _environment]
    return "\n\n".join(section(run) for section in sections) + "\n"


def write_model_card(run: Run, folder: Path | str | None = None) -> Path:
    """Write `MODEL_CARD.md`.

    Args:
        run: a finished run.
        folder: where to; default: `export/` in the run's folder.

    Returns:
        the path.

    Raises:
        InputError: for an unknown or unfinished run.
        OSError: if it cannot be written.
    """
    text = model_card(run)
    path = (Path(folder) if folder else run.path("export")) / "MODEL_CARD.md"
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def check_finished(run: Run) -> None:
    """Raise `InputError` unless `run` exists and has finished; a misspelt one is told the nearest."""
    if not run.folder.is_dir():
        found = sorted((run.root / "runs").glob("*/*/metrics.json"))
        if not found:
            raise InputError(
                f"expected a finished run, found no run {run.study}/{run.name} and no other that has finished; "
                "train one with 03_fine_tune"
            )
        check_choice("run", f"{run.study}/{run.name}", [f"{path.parts[-3]}/{path.parts[-2]}" for path in found])
    run.require("metrics.json")


def evaluated_split(run: Run) -> str:
    """The split that a run's figures were measured on: "test" or "validation"."""
    params = run.resolved
    return params.evaluation if params.target == "label" else "validation"  # of the people it was trained on


def network_arguments(run: Run) -> dict:
    """What `models.FERNet` needs besides the backbone, to be the network of a finished run."""
    built, params = run.read_json("architecture.json"), run.resolved
    names = ("embedding_activation", "embedding_norm", "classifier", "logit_scale")
    sizes = {name: built[name] for name in ("embedding_dim", "num_classes")}
    return {**sizes, **{name: getattr(params, name) for name in names}}


def _title(run: Run) -> str:
    about = "tells the people of its training data apart"
    if run.resolved.target == "label":
        about = f"sorts pictures of faces into {len(EXPRESSIONS)} expressions: {', '.join(EXPRESSIONS)}"
    return f"# Model card: {run.study}/{run.name}\n\nA network that {about}."


def _what_it_is(run: Run) -> str:
    params, built, measured = run.resolved, run.read_json("architecture.json"), run.read_json("metrics.json")
    stages = built["stages"]
    parameters = sum(stage["parameters"] for stage in stages)
    trained = sum(stage["parameters"] for stage in stages if not stage["frozen"])
    backbone_stages = sum(stage["name"].startswith("stage") for stage in stages)
    with safe_open(run.require("best.safetensors"), framework="numpy") as file:
        convention = json.loads(file.metadata()["input_convention"])
    start = {"none": "random weights", "imagenet": "torchvision's ImageNet weights"}.get(params.weights)
    if start is None:  # the name alone: a path is nobody's business
        start = f"the file `{Path(params.weights).name}`, SHA-256 {run.read_json('environment.json')['weights']}"
    mean, std = (", ".join(f"{value:g}" for value in convention[name]) for name in ("mean", "std"))
    return f"""## What it is

- **Network**: {built["architecture"]}, an embedding of {built["embedding_dim"]} numbers, a {params.classifier} \
classifier of {built["num_classes"]} classes; {parameters:,} parameters, {trained:,} of them trained \
({built["frozen_stages"]} of {backbone_stages} stages frozen).
- **Started from**: {start}.
- **Input**: RGB images of {params.image_size} × {params.image_size} pixels, normalised as below; the network itself \
turns them into values from 0 to {convention["range"]}, minus ({mean}), over ({std}).
- **Loss**: {({**paper.LOSSES, **paper.RIVALS})[params.loss]} (λ = {params.cluster_weight:g}, reduction \
{params.reduction}); batches of {params.batch_size}, learning rate {params.learning_rate:g}, precision \
{params.precision}; the weights are those of epoch {measured["best_epoch"]} of {params.epochs}."""


def _data_and_protocol(run: Run) -> str:
    params, measured = run.resolved, run.read_json("metrics.json")
    manifest = read_manifest(run.require("manifest.parquet"))
    splits = [split for split in ("train", "validation", "test") if (manifest["split"] == split).any()]
    if params.target == "label":
        counts = {split: class_counts(manifest, split) for split in splits}
        rows = [[name, *(f"{counts[split][k]:,}" for split in splits)] for k, name in enumerate(EXPRESSIONS)]
        rows.append(["all", *(f"{counts[split].sum():,}" for split in splits)])
        table = _table(["images", *splits], rows)
    else:
        groups = {split: manifest.loc[manifest["split"] == split, "subject"] for split in splits}
        rows = [["images", *(f"{len(group):,}" for group in groups.values())]]
        rows.append(["people", *(f"{group.nunique():,}" for group in groups.values())])
        table = _table(["", *splits], rows)
    near = f"; near-duplicates of such images: {close:,}" if (close := measured.get("near_leaks_removed")) else ""
    evaluated = evaluated_split(run)
    flattered = ", too, which flatters them" if evaluated == "validation" else ""
    return f"""## Data and protocol

Dataset: {_dataset(run)}.

{table}

- {_protocol(manifest.attrs.get("protocol"))}
- Training images removed because they also stand in another split: {measured["leaks_removed"]:,}{near}.
- The epoch was selected by {"macro F1" if params.selection == "f1" else "accuracy"} on the validation split; the \
figures below were measured on the {evaluated} split{flattered}.
- One run, seed {params.seed} (data seed {params.data_seed}): another seed gives other figures."""


def _intended_use(run: Run) -> str:
    if run.resolved.target == "label":
        purpose = "For research on and teaching of facial expression recognition: to compare losses, networks and data."
        warning = "An expression is not an emotion: this says how annotators see a face, not what a person feels."
    else:
        purpose = "To start a network of facial expression recognition from (`weights` of a run), and for nothing else."
        warning = "Not for identifying, verifying or searching for people."
    return f"""## Intended use

{purpose}

- {warning}
- Not for decisions about people (hiring, schooling, policing, health, insurance, credit) and not for watching them.
- Measured on one dataset alone, {_dataset(run)}: elsewhere expect it to be worse, and measure before use."""


def _figures(run: Run) -> str:
    params, measured = run.resolved, run.read_json("metrics.json")
    split = evaluated_split(run)
    heading = f"## Figures\n\nOn {measured[f'{split}_images']:,} {split} images."
    if measured.get("collapsed"):
        heading += " **The embedding collapsed in training: this run did not learn what it should have.**"
    if params.target == "subject":
        people = run.read_json("architecture.json")["num_classes"]
        rows = [[f"identification accuracy, {people:,} people", f"{measured['validation_accuracy']:.4f}"]]
        for name, value in measured.items():
            if name.startswith("verification_") and isinstance(value, (int, float)):
                rows.append([name.replace("_", " "), f"{value:,}" if isinstance(value, int) else f"{value:.4f}"])
        if len(rows) > 1:
            heading += " Verification is of pairs of people who were held out of training."
        return f"{heading}\n\n{_table(['figure', 'value'], rows)}"
    scores = [[f"{NAMES[name]}: {meaning}", _percent(measured[name])] for name, meaning in DEFINITIONS.items()]
    confusion = np.array(measured["confusion"])
    supports, predicted, right = confusion.sum(axis=1), confusion.sum(axis=0), np.diagonal(confusion)
    lows, highs = wilson_interval(right, supports)
    rows = []
    for k, name in enumerate(EXPRESSIONS):
        interval = f"{_percent(lows[k])} to {_percent(highs[k])}"
        precision = _percent(right[k] / predicted[k]) if predicted[k] else "–"
        rows.append([name, _percent(measured[f"recall_{name}"]), interval, precision, f"{supports[k]:,}"])
    few = [f"{name} ({supports[k]:,})" for k, name in enumerate(EXPRESSIONS) if supports[k] < FEW_IMAGES]
    warning = f"\n\n**Fewer than {FEW_IMAGES} {split} images**, so hardly known: {', '.join(few)}." if few else ""
    columns = ["class", "recall", "95 % Wilson interval", "precision", f"{split} images"]
    return f"""{heading} Per cent.

{_table(["metric", "value"], scores)}

{_table(columns, rows)}{warning}"""


def _limits(run: Run) -> str:
    params = run.resolved
    if params.dataset == "synthetic":
        wrong = read_manifest(run.require("manifest.parquet")).attrs["label_noise"]
        people = "The faces are drawn: nothing is known about photographs of people."
        labels = f"{_percent(wrong)} % of the labels are wrong on purpose, in training and in evaluation alike"
    else:
        people = "Age, sex, skin colour and origin of the people are not known here: nobody measured for whom it fails."
        labels = "Labels are annotators' opinions, and some are wrong, in training and in evaluation alike"
    noise = f"- {labels}.\n" if params.target == "label" else ""
    return f"""## Limits

{noise}- {people}
- Images are seen at {params.image_size} × {params.image_size} pixels: what is smaller than that is lost.
- It knows one face a picture, found and cropped by something else, and always answers one of its classes."""


def _how_to_load(run: Run) -> str:
    params = run.resolved
    file = f"{run.study}-{run.name}"
    return f"""## How to load

`python -m fer_utils export {run.study}/{run.name} --format onnx safetensors pt2` writes these files (float32). \
Each takes any number of `images`:

```python
import torch
from fer_utils import transforms
from fer_utils.datasets.images import load_image

face = torch.from_numpy(load_image("face.png")).permute(2, 0, 1)  # uint8 (3, H, W), RGB
images = transforms.evaluation_transform({params.image_size})(face)[None]  # float32 (1, 3, H, W)
```

ONNX, anywhere:

```python
import onnxruntime
session = onnxruntime.InferenceSession("{file}.onnx")
logits, features = session.run(["logits", "features"], {{"images": images.numpy()}})
```

PyTorch, without this project:

```python
import torch
network = torch.export.load("{file}.pt2").module()
logits, features = network(images)
```

This project, to go on from:

```python
from fer_utils import models, weights
options = {network_arguments(run)}
network = models.FERNet(models.build_backbone("{params.architecture}", {params.image_size}), **options).eval()
weights.load_weights(network, "{file}.safetensors")
logits, features = network(images)
```

`fer_utils.export.read_metadata(file)` says what stands in a file: classes, input, figures."""


def _environment(run: Run) -> str:
    found = run.read_json("environment.json")
    versions = ", ".join(f"{name} {found[name]}" for name in PACKAGES)
    return f"""## Environment

Python {found["python"]}, {versions}; {found["system"]}, {found["processor"]}, {found["cores"]} cores, \
computed on {found["device"]}; git commit {found["git_commit"]}; {run.read_json("metrics.json")["seconds"]:,g} s."""


def _dataset(run: Run) -> str:
    name = run.resolved.dataset
    return "drawn faces (synthetic)" if name == "synthetic" else name


def _protocol(protocol: dict | None) -> str:
    """How the splits were made: what `fer_utils.splits.protocols` noted in the manifest."""
    if protocol is None:
        return "Splits: the dataset's own."
    name, seed = protocol["name"], protocol.get("seed")
    if name == "paper":
        text = f"the paper's, {protocol['per_class']:,} images of each class drawn for validation and as many for test"
    elif name == "k_fold":
        text = f"k_fold, fold {protocol['fold']} (from 0) of {protocol['k']}"
    else:
        drawn = protocol["drawn"]
        text = "official, the dataset's own splits" + (f", {drawn} drawn from training" if drawn else "")
    return f"Protocol: {text}{f' (seed {seed})' if seed is not None else ''}."


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.1f}"
