"""One page about a dataset, for a reader who has to believe in it."""

import os
from pathlib import Path

import pandas as pd

from fer_utils.datasets.manifest import SPLITS
from fer_utils.files import replaced
from fer_utils.paper.tables import to_markdown


def report(audit, path: str | os.PathLike) -> Path:
    """Write the page, in Markdown, and its figures beside it (PDF and PNG). No figure shows a face.

    Args:
        audit: a `fer_utils.audit.Audit`.
        path: the file; figures are named after it.

    Returns:
        `path`.

    Example:
        >>> import tempfile
        >>> from fer_utils import datasets
        >>> from fer_utils.audit import audit
        >>> found = audit(datasets.read_synthetic(train=64, validation=8, test=8), near=False)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = report(found, f"{folder}/audit.md")
        ...     sorted(file.name for file in page.parent.iterdir())[:3]
        ['audit.md', 'audit_classes.pdf', 'audit_classes.png']
    """
    from fer_utils.plots import save_figure  # here, so that an audit alone does without matplotlib

    path = Path(path)
    figures = _figures(audit)
    for name, (figure, _) in figures.items():
        save_figure(figure, path.with_name(f"{path.stem}_{name}"))
    shown = {name: f"![{caption}]({path.stem}_{name}.png)\n\n{caption}\n" for name, (_, caption) in figures.items()}
    sections = [
        _head(audit),
        to_markdown(_checks(audit.table), title="What was looked for"),
        shown["duplicates"],
        to_markdown(_classes(audit), title="Classes"),
        shown.get("classes", ""),
        shown.get("weights", ""),
        _agreement(audit.agreement),
        shown.get("agreement", ""),
    ]
    with replaced(path) as temporary:
        temporary.write_text("\n".join(section for section in sections if section), encoding="utf-8")
    return path


def _figures(audit) -> dict:
    """Name → figure and caption."""
    from fer_utils import plots

    figures = {
        "duplicates": (
            plots.figure_duplicates(audit.duplicates),
            "Images with a twin in another split or in their own; one with an exact twin is not counted as near.",
        )
    }
    if audit.classes["images"].any():
        figures["classes"] = plots.figure_class_counts(audit.counts), "Training images of each class."
        figures["weights"] = (
            plots.figure_weights(audit.weights, audit.effective_images),
            "Class weights of Eq. 6. The effective sample is Kish's: as many equally weighted images say as much.",
        )
    if audit.votes is not None:
        figures["agreement"] = (
            plots.figure_agreement(audit.votes, audit.agreement),
            "What the taggers take the images of each label for.",
        )
    return figures


def _head(audit) -> str:
    about, images = audit.about, audit.images
    listed = images[images["listed"]]
    splits = ", ".join(f"{(listed['split'] == split).sum():,} {split}" for split in SPLITS)
    lines = [f"# Audit of {about.get('dataset', 'a dataset')}", f"{len(listed):,} images ({splits})."]
    if len(images) > len(listed):
        lines[-1] += (
            f" Another {len(images) - len(listed):,} image files stand beside them that the manifest does not list."
        )
    done = []
    if about.get("leaks_removed"):
        done.append(f"{about['leaks_removed']:,} training images whose pixels also stand in validation or test")
    if about.get("near_leaks_removed"):
        done.append(f"{about['near_leaks_removed']:,} near-duplicates of validation or test images")
    if about.get("bad_images", {}).get("count"):
        done.append(f"{about['bad_images']['count']:,} unreadable images")
    if done:
        lines.append(f"Left out before this audit: {'; '.join(done)}.")
    if "protocol" in about:
        lines.append(f"Splits: {', '.join(f'{key} {value}' for key, value in about['protocol'].items())}.")
    groups = images["group"].max() + 1
    members = int((images["group"] >= 0).sum())
    lines.append(
        f"{groups:,} groups of exact or near duplicates hold {members:,} of the {len(images):,} images looked at."
    )
    return "\n\n".join(lines) + "\n"


def _checks(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Check": table["check"],
            "Images": [f"{count:,}" for count in table["count"]],
            "%": [_number(100 * share, 2) for share in table["share"]],
            "All files": [f"{count:,}" for count in table["all_files"]],
            "For example": [examples or "–" for examples in table["examples"]],
            "What to do": [
                action if total else "–" for action, total in zip(table["action"], table["all_files"], strict=True)
            ],
        }
    )


def _classes(audit) -> pd.DataFrame:
    counts = audit.counts.pivot(index="expression", columns="split", values="images")
    classes = audit.classes
    return pd.DataFrame(
        {
            "Class": classes["expression"],
            **{split: [f"{counts.loc[name, split]:,}" for name in classes["expression"]] for split in SPLITS},
            "Weight": [_number(weight, 3) for weight in classes["weight"]],
            "Brightness": [_number(value, 1) for value in classes["brightness"]],
            "Contrast": [_number(value, 1) for value in classes["contrast"]],
        }
    )


def _agreement(agreement: dict | None) -> str:
    if agreement is None:
        return ""
    low, high = 100 * agreement["one_more_low"], 100 * agreement["one_more_high"]
    return (
        f"**Taggers.** {agreement['votes']:.1f} votes an image ({agreement['images']:,} images with two or more): "
        f"Krippendorff's α {_number(agreement['alpha'], 3)}; two taggers of an image agree in "
        f"{100 * agreement['pairwise']:.1f} %. The best possible predictor agrees with one more tagger in "
        f"{low:.1f}–{high:.1f} %; a second panel of taggers has the same favourite in "
        f"{100 * agreement['second_panel']:.1f} %. A higher accuracy means that a model has learnt "
        "these taggers' errors.\n"
    )


def _number(value: float, digits: int) -> str:
    return "–" if pd.isna(value) else f"{value:.{digits}f}"
