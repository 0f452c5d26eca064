"""What an identity run has learned for people it has never seen."""

import numpy as np
import pandas as pd

from fer_utils import datasets, verification
from fer_utils.files import replaced
from fer_utils.runs import Run

PIXELS = 32  # side length at which images are compared without a network


def verify_strangers(strangers: pd.DataFrame, features: np.ndarray, run: Run, seed: int) -> dict:
    """Write `verification.parquet`, a row a pair, and return the measures of its similarities.

    Args:
        strangers: the manifest's rows of people held out, with its attrs.
        features: (N, D), a row each.
        run: where to write: `image_1`, `image_2`, `same` (one person or two), `similarity` (cosine of the features) and
            `pixel_similarity` (the same of the grey pixels, mean removed, at 32 × 32).
        seed: draws the pairs.

    Returns:
        dict of `verification.verify`'s measures as `verification_…`; of the pixels, for comparison,
        `verification_pixel_accuracy` and `verification_pixel_auc`; and the number of people, `verification_people`.
    """
    pairs, same = verification.make_pairs(strangers["subject"], seed=seed)
    used, places = np.unique(pairs, return_inverse=True)
    pixels = verification.pixel_embeddings(datasets.load_images(strangers.iloc[used], size=PIXELS))
    images = strangers["image"].astype(str).to_numpy()
    table = pd.DataFrame({
        "image_1": images[pairs[:, 0]],
        "image_2": images[pairs[:, 1]],
        "same": same,
        "similarity": verification.cosine_similarities(features, pairs),
        "pixel_similarity": verification.cosine_similarities(pixels, places.reshape(pairs.shape)),
    })  # fmt: skip
    with replaced(run.path("verification.parquet")) as temporary:
        table.to_parquet(temporary, index=False)
    scores = verification.verify(table["similarity"], same)
    of_pixels = verification.verify(table["pixel_similarity"], same)
    return {
        **{f"verification_{name}": value for name, value in scores.items()},
        **{f"verification_pixel_{name}": of_pixels[name] for name in ("accuracy", "auc")},
        "verification_people": int(strangers["subject"].nunique()),
    }
