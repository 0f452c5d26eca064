"""From run parameters to the manifest of a run: read, divided, freed of leaks, cut to size."""

from pathlib import Path

import pandas as pd

from fer_utils import datasets, packing, splits, verification
from fer_utils.datasets.boxes import with_margin
from fer_utils.errors import InputError
from fer_utils.runs import RunParameters, located


def prepare_manifest(params: RunParameters, root: Path) -> pd.DataFrame:
    """The manifest that `params` ask for.

    A dataset of files is read, divided by `protocol` (`fer_utils.splits`, drawn with `data_seed`), freed of training
    images whose pixels also stand in validation or test (`remove_leaks`), and cut to the asked sizes (0 = all).

    With `target="subject"` a tenth of each subject's training images becomes the validation split (identification
    of known people); the test split is the people held out, else those whom the dataset sets apart, if any. A folder
    of identities is cut by `min_images`, not by sizes. With `evaluation="validation"` the test split is left out, after
    leaks into it have been removed from training: a search that must not see it cannot.

    `box_margin` cuts the images to their face boxes, but for AffectNet's npy release, whose faces are cut already.

    Files that an earlier run of this checkout has checked, and that have not changed, are not decoded for it again.

    Raises:
        InputError: where the data are not what was asked for.
    """
    with datasets.remembered_checks(root / ".cache" / "checks"):
        return _prepare(params, root)


def _prepare(params: RunParameters, root: Path) -> pd.DataFrame:
    identity = params.target == "subject"
    if params.dataset == "synthetic":
        manifest = _drawn(params)
    elif not params.data:
        raise InputError(f"dataset {params.dataset!r} needs its folder: give data=… (make study … DATA=/path/to/it)")
    elif params.dataset == "identities":
        options = {"min_images": params.min_images, "on_bad_image": params.on_bad_image}
        manifest = datasets.read_identities(located(params.data, root), **options)
    else:
        manifest = _read(params, root)
    if params.held_out_people:
        manifest = splits.hold_out_subjects(manifest, params.held_out_people, seed=params.data_seed)
    if identity:
        manifest = splits.hold_out_within_subjects(manifest, fraction=0.1, seed=params.data_seed)
    if params.evaluation == "validation":
        manifest = splits.without(manifest, "test")
    for split in ("train", "validation") if identity else ("train", "validation", params.evaluation):
        if not (manifest["split"] == split).any():
            more = "images of a person (6 give one to validation)" if identity else f"{split}_images"
            raise InputError(f"expected images in the {split} split, found none; ask for more {more}")
    strangers = manifest.loc[manifest["split"] == "test", "subject"] if identity else ()
    if len(strangers):
        verification.make_pairs(strangers, pairs=2)  # which fails before the training, not after it
    manifest = manifest.drop(columns="fingerprint", errors="ignore")
    cut_already = manifest.attrs.get("release") == "npy"
    return manifest if params.box_margin is None or cut_already else with_margin(manifest, params.box_margin)


def pack_if_asked(manifest: pd.DataFrame, params: RunParameters, root: Path) -> pd.DataFrame:
    """The manifest; with `packed` its images are packed, once for all runs of a checkout, below `<root>/.cache/`."""
    return packing.pack_into(manifest, _stored_size(params), root / ".cache" / "packs") if params.packed else manifest


def _drawn(params: RunParameters) -> pd.DataFrame:
    return datasets.read_synthetic(
        **_sizes(params),
        subjects=params.subjects,
        difficulty=params.difficulty,
        image_size=_stored_size(params),
        proportions="balanced" if params.target == "subject" else "table3",
        seed=params.data_seed,
    )


def _read(params: RunParameters, root: Path) -> pd.DataFrame:
    # FER+'s reader removes the leaks between its own splits, and those of images that its label rule drops.
    left_to_reader = params.dataset == "ferplus" and params.protocol == "official" and params.remove_leaks
    ferplus = {"remove_leaks": left_to_reader, "label_rule": params.label_rule}
    options = ferplus if params.dataset == "ferplus" else {}
    folder = located(params.data, root)
    manifest = datasets.read_dataset(params.dataset, folder, on_bad_image=params.on_bad_image, **options)
    if params.protocol == "paper":
        manifest = splits.paper_protocol(manifest, params.data_seed, params.held_out_per_class)
    elif params.protocol == "k_fold":
        manifest = splits.k_fold(manifest, params.folds, params.data_seed)[params.fold]
    else:
        manifest = splits.official(manifest, params.data_seed)
    if params.remove_leaks and not left_to_reader:
        manifest = splits.remove_training_leaks(manifest, manifest["fingerprint"])
    for split, images in _sizes(params).items():
        if images:
            manifest = splits.subsample(manifest, split, images, seed=params.data_seed)
    return manifest


def _sizes(params: RunParameters) -> dict[str, int]:
    return {"train": params.train_images, "validation": params.validation_images, "test": params.test_images}


def _stored_size(params: RunParameters) -> int:
    """Faces are drawn and packed a seventh larger than the network sees, as 256 stands to 224 in the paper's crop."""
    return round(params.image_size * 256 / 224)
