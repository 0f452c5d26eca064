"""Faces to probabilities: by the recogniser that ships with the study, an exported file, or a run.

The shipped file and other ONNX files need no torch. What a file says of itself is its metadata, the
entry `fer_utils.json` that `models.export` writes; a calibrated one adds `temperature` and `sure`
(see `calibrate`), `crop_margin` and `align` (see `detector.crop_face`), and the shipped one says
`"grey"` among `input["channels"]`.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from PIL import Image
from scipy.special import log_softmax

from fer_utils import datasets, metrics
from fer_utils.core import (
    EXPRESSIONS,
    LOG_PROBABILITIES,
    NUM_CLASSES,
    InputError,
    Run,
    check_choice,
    project_root,
    resolve_path,
)

SHIPPED = Path(__file__).with_name("recogniser.onnx")
RECOGNISER = "recogniser"  # the name of the shipped file as a source
METADATA = "fer_utils.json"
# Share of the detector's box that is added at each end where the metadata name none: of networks
# trained on photographs cut by somebody else, and on drawn portraits.
CROP_MARGIN, DRAWN_MARGIN = 0.05, 0.1
GREY = ("fer2013", "ferplus")  # datasets of grey images
AT_ONCE = 64  # faces
WANTED_ACCURACY = 0.95  # of the answers that are called sure


class FaceClassifier:
    """Images of faces to calibrated probabilities, and what is known about how good they are.

    Args:
        name: STUDY/RUN, or the file's name.
        about: what its metadata say.
        compute: float32 (N, 3, S, S) → logits (N, 8).
        load: () → the same network in torch, or None where there is none.

    Attributes:
        size: S, pixels a side.
        margin, align: how a found face is cut, see `detector.crop_face`.
        temperature: by which logits are divided.
        threshold: the confidence below which an answer is not sure.
    """

    def __init__(self, name: str, about: dict, compute: Callable, load: Callable):
        self.name, self.about, self.network = name, about, load
        self._compute = compute
        self.size, grown = about["image_size"], about.get("box_margin")
        self.side = round(self.size / about["crop_pct"])
        self.grey = about["input"].get("channels") == "grey" or about["dataset"] in GREY
        usual = DRAWN_MARGIN if about["dataset"] == "synthetic" else CROP_MARGIN
        self.margin = about.get("crop_margin", usual if grown is None else grown)
        self.align = about.get("align", False)
        self.temperature = about.get("temperature", 1.0)
        self.threshold = about.get("sure", {}).get("threshold", 0.0)

    def classify(self, faces) -> np.ndarray:
        """Probabilities (N, 8) of faces: uint8 (N, H, W, 3), or N arrays (H, W, 3) of any sizes."""
        logits = [np.zeros((0, NUM_CLASSES))]
        for start in range(0, len(faces), AT_ONCE):
            logits.append(self._compute(self.inputs(faces[start : start + AT_ONCE])))
        return np.exp(log_softmax(np.concatenate(logits) / self.temperature, axis=1))

    def sure(self, probabilities) -> np.ndarray:
        """bool (N,): whether the likeliest class is as probable as it takes to be called sure."""
        return np.asarray(probabilities).max(axis=-1) >= self.threshold

    def see(self, faces) -> np.ndarray:
        """uint8 (N, S, S, 3), what the network is shown: as in training, without torch."""
        start, seen = round((self.side - self.size) / 2), []
        for face in faces:
            square = datasets.to_square(np.ascontiguousarray(face), self.side)
            square = square[start : start + self.size, start : start + self.size]
            if self.grey:
                square = np.asarray(Image.fromarray(square).convert("L").convert("RGB"))
            seen.append(square)
        return np.stack(seen)

    def inputs(self, faces) -> np.ndarray:
        """float32 (N, 3, S, S), what the network takes."""
        mean, std = (np.array(self.about["input"][part]) for part in ("mean", "std"))
        images = (self.see(faces) / 255 - mean) / std  # (N, S, S, 3)
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)

    def limits(self) -> str:
        """What it cannot know, and for whom its errors were measured, in Markdown."""
        found, split, dataset = (self.about[key] for key in ("metrics", "measured_on", "dataset"))
        whom = f"{dataset}: who is unlike the people in it may be recognised worse"
        if dataset == "synthetic":
            whom = "drawn faces: nothing is known about photographs of people"
        sure = self.about.get("sure", {"threshold": 0, "coverage": 1, "accuracy": 0})
        return (
            "**An expression is not an emotion.** The answer is how annotators would name what a "
            "face shows, not what a person feels; it is one of eight words, whatever is shown.\n\n"
            f"**For whom its errors were measured:** {self.name} was right on "
            f"{found['accuracy']:.1%} of {found[f'{split}_images']:,} {split} images (mean recall "
            f"of the classes {found['macro_recall']:.1%}), of {whom}. Below {sure['threshold']:.0%}"
            f" it is “not sure”; of validation images it was sure of {sure['coverage']:.0%}, and "
            f"right on {sure['accuracy']:.1%} of these."
        )


def calibrate(log_probabilities, labels, accuracy: float = WANTED_ACCURACY) -> dict:
    """The temperature, and the confidence above which answers are right as often as wanted.

    Args:
        log_probabilities: (N, 8), of validation images; logits do as well.
        labels: (N,) 0–7.
        accuracy: wanted of the answers called sure; where none reach it, the surest half is.

    Returns:
        dict: `temperature`, and `sure` with `threshold`, `coverage` (share of images) and
        `accuracy` (of these).
    """
    temperature = float(metrics.fit_temperature(log_probabilities, labels))
    found = metrics.apply_temperature(log_probabilities, temperature)
    order = np.argsort(-found.max(axis=1), kind="stable")  # the surest first
    right = (found.argmax(axis=1) == labels)[order].cumsum() / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(right >= accuracy)
    last = enough[-1] if len(enough) else (len(order) - 1) // 2
    sure = {
        "threshold": float(np.exp(found.max(axis=1)[order[last]])),
        "coverage": float((last + 1) / len(order)),
        "accuracy": float(right[last]),
    }
    return {"temperature": temperature, "sure": sure}


def load_classifier(
    source: str = RECOGNISER, root: Path | str | None = None, threads: int = 0
) -> FaceClassifier:
    """The shipped recogniser, or the network of an exported ONNX file or a finished run.

    Args:
        source: "recogniser" (or ""), a file that `models.export` wrote, STUDY/RUN, or a run's
            folder.
        root: the checkout; default: the one around the working directory.
        threads: of ONNX Runtime; 0: as many as there are cores.

    Raises:
        InputError: where there is no such file or run, it has not finished, or it is one of people.
    """
    if source in ("", RECOGNISER):
        return _of_onnx(SHIPPED, threads, RECOGNISER, "reinstall the package, or name a run")
    path = resolve_path(source, root or Path.cwd())
    if path.suffix == ".onnx":
        return _of_onnx(path, threads, path.name, "export the run (again)")
    return _of_run(find_run(source, root), threads)


def find_run(source: str, root: Path | str | None = None) -> Run:
    """A finished run of expressions by STUDY/RUN or its folder; the nearest name where none is."""
    root = Path(root) if root else project_root()
    names = resolve_path(source, root / "runs").resolve().parts[-2:]
    run = Run(*names, root)
    if not run.begun:
        known = finished_runs(root)
        if known:
            check_choice("run", source, known)
        raise InputError(f"expected a finished run, found no {source!r} and no other; train one")
    if run.params.target != "label":
        raise InputError(f"expected a run of expressions, found {source}, which tells people apart")
    run.require("predictions.parquet")
    return run


def finished_runs(root: Path | str | None = None) -> list[str]:
    """STUDY/RUN of every finished run of expressions, the latest first."""
    root = Path(root) if root else project_root()
    files = sorted(root.glob("runs/*/*/metrics.json"), key=lambda path: -path.stat().st_mtime)
    runs = [Run(*path.parts[-3:-1], root) for path in files]
    return [f"{r.study}/{r.name}" for r in runs if r.evaluated and r.params.target == "label"]


def _of_onnx(path: Path, threads: int, name: str, remedy: str, **more) -> FaceClassifier:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave cores free
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        about = json.loads(session.get_modelmeta().custom_metadata_map[METADATA]) | more

        def compute(images: np.ndarray) -> np.ndarray:
            return session.run(["logits"], {"images": images})[0]

        found = FaceClassifier(name, about, compute, lambda: _torch().network_of_file(path, about))
        found.classify(np.zeros((1, 8, 8, 3), np.uint8))
    except Exception as error:  # a stranger's bytes
        what = f"another ({' '.join(str(error).split())[:90]})" if path.is_file() else "none"
        raise InputError(f"expected a network at {path}, found {what}; {remedy}") from None
    if about["classes"] != list(EXPRESSIONS):
        raise InputError(f"expected a network of the eight expressions, found another in {path}")
    return found


def _of_run(run: Run, threads: int) -> FaceClassifier:
    name, params, calibration = f"{run.study}/{run.name}", run.params, {}
    table = pd.read_parquet(run.require("predictions.parquet"))
    table = table[table["split"] == "validation"]
    if len(table):
        log_p = table[list(LOG_PROBABILITIES)].to_numpy(float)
        calibration = calibrate(log_p, table["label"].to_numpy())
    exported = run.path("export") / f"{run.study}-{run.name}.onnx"
    weights = run.require("best.safetensors")
    if exported.is_file() and exported.stat().st_mtime > weights.stat().st_mtime:
        return _of_onnx(exported, threads, name, "export the run again", **calibration)
    network = _torch().network_of_run(run)
    about = {
        "image_size": params.image_size,
        "crop_pct": params.crop_pct,
        "input": _torch().IMAGENET_INPUT,
        "dataset": params.dataset,
        "box_margin": params.data_option("box_margin"),
        "measured_on": params.evaluation,
        "metrics": run.measured,
    }
    compute = _torch().logits_of(network)
    return FaceClassifier(name, about | calibration, compute, lambda: network)


def _torch():
    """The part that needs torch, which takes seconds to load."""
    from fer_utils.interactive import gradcam

    return gradcam
