"""The network that recognises: of a finished run, or an exported file; behind one call."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fer_utils import explaining, export, models, transforms
from fer_utils.errors import InputError
from fer_utils.expressions import NUM_CLASSES
from fer_utils.model_card import evaluated_split
from fer_utils.models import FERNet
from fer_utils.recognising.choosing import finished_runs
from fer_utils.runs import Run, located, project_root
from fer_utils.weights import load_weights

# Of the detector's box, so that a face fills as much as in training. Of 392 FER+ validation faces found in pictures
# pasted together 70, 69, 65, 60 and 56 % are recognised right with 0, 0.05, 0.1, 0.15 and 0.2; of 400 whole
# images 66 %. The first two are alike, and a box that is a little too tight costs more.
CROP_MARGIN = 0.05
DRAWN_MARGIN = 0.1  # in a drawn portrait the detector's box takes 82 % of the height (median)
AT_ONCE = 32  # faces


@dataclass(frozen=True)
class Recogniser:
    """Images to probabilities, and what is known about how well.

    Attributes:
        name: STUDY/RUN, or the file's name.
        image_size: pixels a side that the network sees.
        margin: by which a detected face's box is grown at each end, as a fraction of its longer side, before it is cut.
        dataset, split, images, accuracy, macro_recall: what its errors were measured on, and what was measured (0–1).
        network: None for a file that holds no PyTorch layers (ONNX, pt2): it has no Grad-CAM.
        compute: float32 (N, 3, S, S) → logits (N, 8).
    """

    name: str
    image_size: int
    margin: float
    dataset: str
    split: str
    images: int
    accuracy: float
    macro_recall: float
    network: FERNet | None
    compute: object

    @torch.no_grad()
    def recognise(self, crops: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of cut faces.

        Args:
            crops: N arrays uint8 (H, W, 3) of any size.

        Returns:
            float32 (N, 8), rows sum to 1, and uint8 (N, S, S, 3), what the network was shown.
        """
        size = self.image_size
        if not crops:
            return np.zeros((0, NUM_CLASSES), np.float32), np.zeros((0, size, size, 3), np.uint8)
        images = self._prepared(crops)
        logits = torch.cat([self.compute(part) for part in images.split(AT_ONCE)])
        return logits.softmax(1).numpy(), transforms.denormalise(images).permute(0, 2, 3, 1).numpy()

    def explain(self, crops: list[np.ndarray], classes) -> np.ndarray | None:
        """Grad-CAM of the classes (N,): float32 (N, S, S), 0–1; None of a network that has no maps to show."""
        if self.network is None or not crops:
            return None
        stage = explaining.clearest_stage(self.network, self.image_size)
        try:
            return explaining.grad_cam(self.network, self._prepared(crops), classes, stage).numpy()
        except InputError:  # a vision transformer
            return None

    def limits(self) -> str:
        """What such a network cannot know, and for whom its errors were measured, in Markdown."""
        about = "drawn faces: nothing is known about photographs of people"
        if self.dataset != "synthetic":
            about = (
                f"{self.dataset}: who is unlike the people in it may be recognised worse, and nobody measured how much"
            )
        return (
            "**An expression is not an emotion.** The network says how annotators would name what a face shows, not "
            "what a person feels, thinks or intends; and it always answers one of eight classes, whatever it is shown."
            f"\n\n**For whom its errors were measured:** {self.name} was right on {100 * self.accuracy:.1f} % of "
            f"{self.images:,} {self.split} images (mean recall of the eight classes {100 * self.macro_recall:.1f} %), "
            f"of {about}."
        )

    def _prepared(self, crops: list[np.ndarray]) -> Tensor:
        transform = transforms.evaluation_transform(self.image_size)
        return torch.stack([transform(torch.from_numpy(crop.copy()).permute(2, 0, 1)) for crop in crops])


def load_recogniser(source: str = "", root: Path | str | None = None) -> Recogniser:
    """The network of a finished run or of an exported file.

    Args:
        source: STUDY/RUN; a run's folder; a file that `export` wrote (.onnx, .safetensors, .pt2); or "" for the
            first of `finished_runs`.
        root: the checkout; default: the one around the working directory.

    Raises:
        InputError: where there is no such run or file, it has not finished, recognises people and not expressions, or
            its weights do not fit its architecture.
    """
    root = Path(root) if root else project_root()
    source = str(source) or next(iter(finished_runs(root)), "")
    if not source:
        raise InputError("expected a finished run, found none yet; run `make study` first, or train one: 03_fine_tune")
    path = located(source, root)
    if path.suffix.removeprefix(".") in export.FORMATS:
        return _of_file(path)
    if not (path / "params.yaml").is_file():
        path = root / "runs" / source
    return _of_run(Run(path.parent.name, path.name, path.parents[2] if path.parents[1].name == "runs" else root))


def _of_run(run: Run) -> Recogniser:
    export.check_finished(run)
    params = run.resolved
    _check_expressions(f"{run.study}/{run.name}", params.target == "label")
    network = export.load_network(run)
    measured = _measured(run.read_json("metrics.json"), evaluated_split(run))
    margin = _margin(params.dataset, params.box_margin)
    return Recogniser(
        f"{run.study}/{run.name}", params.image_size, margin, params.dataset, *measured, network, _logits(network)
    )


def _of_file(path: Path) -> Recogniser:
    about = export.read_metadata(path)
    _check_expressions(path.name, about["classes"] is not None)
    size = about["input"]["shape"][-1]
    network = None
    if path.suffix == ".onnx":
        compute = _onnx(path)
    elif path.suffix == ".pt2":
        compute = _logits(torch.export.load(path).module())
    else:
        if "network" not in about:
            raise InputError(f"expected how to build the network in {path}, found an older file; export it anew")
        network = FERNet(models.build_backbone(about["architecture"], size), **about["network"])
        load_weights(network.eval().requires_grad_(False), path)
        compute = _logits(network)
    measured = _measured(about["metrics"], about["measured_on"])
    margin = _margin(about["dataset"], about.get("box_margin"))
    return Recogniser(path.name, size, margin, about["dataset"], *measured, network, compute)


def _margin(dataset: str, trained_with: float | None) -> float:
    if trained_with is not None:
        return trained_with
    return DRAWN_MARGIN if dataset == "synthetic" else CROP_MARGIN


def _measured(metrics: dict, split: str) -> tuple[str, int, float, float]:
    return split, metrics[f"{split}_images"], metrics["accuracy"], metrics["macro_recall"]


def _check_expressions(name: str, knows: bool) -> None:
    if not knows:
        raise InputError(f"expected a network of expressions, found one of people in {name}; name another run")


def _logits(network):
    return lambda images: network(images)[0]


def _onnx(path: Path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
