"""Faces to probabilities: by the recogniser that ships with the study, an exported file, or a run.

ONNX files need neither torch nor pandas, so that the first answer comes soon. What a file says of
itself is its metadata, the entry `METADATA` that `models.export` writes; one that `networks.ship`
made adds `temperature` and `sure`, and may add `crop_margin` and `align` (`detector.crop_face`).
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from fer_utils import core
from fer_utils.core import EXPRESSIONS, NUM_CLASSES, InputError, Run, raster

SHIPPED = Path(__file__).with_name("recogniser.onnx")
RECOGNISER = "recogniser"  # the name of the shipped file as a source
METADATA = "fer_utils.json"
# Share of the detector's box that is added at each end where the metadata name none: of networks
# trained on photographs cut by somebody else, and on drawn portraits.
CROP_MARGIN, DRAWN_MARGIN = 0.05, 0.1
GREY = ("fer2013", "ferplus")  # datasets of grey images
AT_ONCE = 64  # faces
LIMITS = (
    "**An expression is not an emotion.** The answer is how annotators would name what a face "
    "shows, not what a person feels; it is one of eight words, whatever is shown.\n\n"
    "**For whom its errors were measured:** {name} was right on {accuracy:.1%} of {images} (mean "
    "recall of the classes {macro_recall:.1%}), of {whom}."
)
SURE = (
    " Below {threshold:.0%} it is “not sure”; of validation images it was sure of {coverage:.0%}, "
    "and right on {accuracy:.1%} of these."
)


class FaceClassifier:
    """Images of faces to calibrated probabilities, and what is known about how good they are.

    `margin` and `align` say how to cut a face that was found, see `detector.crop_face`.

    Args:
        about: what its metadata say.
        compute: float32 (N, 3, S, S) → logits (N, 8).
        network: () → the same network in torch, or None where there is none.
    """

    def __init__(self, name: str, about: dict, compute: Callable, network: Callable):
        self.name, self.about, self.network, self._compute = name, about, network, compute
        self.size = about["image_size"]
        usual = DRAWN_MARGIN if about["dataset"] == "synthetic" else CROP_MARGIN
        margins = (about.get("crop_margin"), about.get("box_margin"), usual)
        self.margin = next(margin for margin in margins if margin is not None)
        self.align = about.get("align", False)
        self.temperature = about.get("temperature", 1.0)
        self.threshold = about.get("sure", {}).get("threshold", 0.0)

    def classify(self, faces) -> np.ndarray:
        """Probabilities (N, 8) of faces: uint8 (N, H, W, 3), or N arrays (H, W, 3) of any sizes.

        Of a run evaluated with `flip_tta`, from the mean of a face's and its mirror image's.
        """
        found = [np.zeros((0, NUM_CLASSES))]
        for start in range(0, len(faces), AT_ONCE):
            images = self.inputs(faces[start : start + AT_ONCE])
            ways = [images, images[..., ::-1]] if self.about.get("flip_tta") else [images]
            answers = [_softmax(self._compute(np.ascontiguousarray(way))) for way in ways]
            found.append(np.mean(answers, axis=0))
        return _softmax(np.log(np.concatenate(found)) / self.temperature)

    def sure(self, probabilities) -> np.ndarray:
        """bool (N,): whether the likeliest class is probable enough to be given as the answer."""
        return np.asarray(probabilities).max(axis=-1) >= self.threshold

    def see(self, faces) -> np.ndarray:
        """uint8 (N, S, S, 3), what the network is shown: as in training, without torch."""
        side = round(self.size / self.about["crop_pct"])
        start = round((side - self.size) / 2)
        squares = np.stack([raster.to_square(np.ascontiguousarray(face), side) for face in faces])
        seen = squares[:, start : start + self.size, start : start + self.size]
        if self.about["dataset"] not in GREY:
            return seen
        return np.stack([Image.fromarray(face).convert("L").convert("RGB") for face in seen])

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
        images = f"{found[f'{split}_images']:,} {split} images"
        sure = SURE.format(**self.about["sure"]) if "sure" in self.about else ""
        return LIMITS.format(name=self.name, images=images, whom=whom, **found) + sure


def _softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return odds / odds.sum(axis=1, keepdims=True)


def load_classifier(
    source: str = RECOGNISER, root: Path | str | None = None, threads: int = 0
) -> FaceClassifier:
    """The shipped recogniser, or the network of an exported ONNX file or a finished run.

    Args:
        source: "recogniser" or "", a file that `models.export` wrote, STUDY/RUN, or a run's folder.
        root: the checkout; default: the one around the working directory.
        threads: of ONNX Runtime; 0: as many as there are cores.
    """
    if source in ("", RECOGNISER):
        return _of_file(SHIPPED, RECOGNISER, threads, "reinstall the package, or name a run")
    path = core.resolve_path(source, root or Path.cwd())
    if path.suffix == ".onnx":
        return _of_file(path, path.name, threads, "export the run (again)")
    run = find_run(source, root)
    about, compute, network = _networks().of_run(run)
    return FaceClassifier(f"{run.study}/{run.name}", about, compute, lambda: network)


def find_run(source: str, root: Path | str | None = None) -> Run:
    """A finished run of expressions by STUDY/RUN or its folder; the nearest name where none is."""
    root = Path(root) if root else core.project_root()
    run = Run(*core.resolve_path(source, root / "runs").resolve().parts[-2:], root)
    if not run.begun:
        files = sorted(root.glob("runs/*/*/metrics.json"))
        known = [f"{path.parts[-3]}/{path.parts[-2]}" for path in files]
        core.check_choice("source", source, [RECOGNISER, *known])
    if run.params.target != "label":
        raise InputError(f"expected a run of expressions, found {source}, which tells people apart")
    run.require("predictions.parquet")
    return run


def _of_file(path: Path, name: str, threads: int, remedy: str) -> FaceClassifier:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave cores free
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        about = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])

        def compute(images: np.ndarray) -> np.ndarray:
            return session.run(["logits"], {"images": images})[0]

        found = FaceClassifier(name, about, compute, lambda: _networks().of_file(path, about))
        found.classify(np.zeros((1, 8, 8, 3), np.uint8))
    except Exception as error:  # a stranger's bytes
        what = f"another ({core.one_line(error, 90)})" if path.is_file() else "none"
        raise InputError(f"expected a network at {path}, found {what}; {remedy}") from None
    if about["classes"] != list(EXPRESSIONS):
        raise InputError(f"expected a network of the eight expressions, found another in {path}")
    return found


def _networks():
    """The part that needs torch, which takes seconds to load."""
    from fer_utils.interactive import networks

    return networks
