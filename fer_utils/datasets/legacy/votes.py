"""The taggers' votes of a manifest as soft targets."""

import numpy as np
import pandas as pd

from fer_utils.core import InputError
from fer_utils.core import EXPRESSIONS, NUM_CLASSES

VOTE_COLUMNS = tuple(f"votes_{name}" for name in EXPRESSIONS)


def vote_shares(manifest: pd.DataFrame) -> np.ndarray:
    """Every image's votes for the eight expressions, divided by their sum.

    The votes count as they stand in the manifest: to leave out those of single taggers is the reader's business, as
    `read_ferplus` does with ``label_rule="probability"``. Votes for anything else, such as FER+'s "unknown", are not
    among them. An image without a single vote gets all weight on its label.

    Args:
        manifest: a manifest, with `votes_neutral` … `votes_contempt`.

    Returns:
        float32 array (N, 8), ≥ 0, rows of sum 1, in the order of `fer_utils.expressions.EXPRESSIONS`.

    Raises:
        InputError: without these columns, or for votes that are missing or negative.

    Example:
        >>> manifest = pd.DataFrame(0, index=range(2), columns=["label", *VOTE_COLUMNS]).assign(label=[1, 7])
        >>> manifest.loc[0, ["votes_happy", "votes_sad"]] = [6, 2]
        >>> vote_shares(manifest).tolist()
        [[0.0, 0.75, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]]
    """
    missing = [column for column in VOTE_COLUMNS if column not in manifest.columns]
    if missing:
        raise InputError(
            f"expected taggers' votes ({VOTE_COLUMNS[0]} … {VOTE_COLUMNS[-1]}) in the manifest for "
            f"label_mode='probability', found no {missing[0]}; use label_mode='majority', or a dataset with votes: FER+"
        )
    votes = manifest[list(VOTE_COLUMNS)].to_numpy(dtype=np.float64, na_value=np.nan)  # (N, 8)
    wrong = ~(np.isfinite(votes) & (votes >= 0)).all(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"expected votes ≥ 0 in every row of the manifest, found {votes[row].tolist()} in row {row} (image "
            f"{manifest['image'].iloc[row]}) and {int(wrong.sum()) - 1} more such rows; mend or drop them"
        )
    totals = votes.sum(axis=1, keepdims=True)  # (N, 1)
    labels = np.eye(NUM_CLASSES)[manifest["label"].to_numpy(dtype=np.int64)]
    return np.where(totals > 0, votes / np.where(totals > 0, totals, 1), labels).astype(np.float32)
