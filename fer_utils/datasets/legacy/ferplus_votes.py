"""FER+'s votes of ten taggers, and the rules that make a label of them."""

import numpy as np

from fer_utils.core import NUM_CLASSES, to_labels

# The order of the vote columns in both label files, which is not the paper's.
VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
_LABELS = np.array(to_labels(VOTES, "ferplus"))  # −1 for "unknown" and "NF" (no face), which stand last


def majority_labels(votes: np.ndarray) -> np.ndarray:
    """FER+'s majority rule: a class needs more than half of the votes that are left without single ones.

    Args:
        votes: int array (N, 10), columns in the order of `VOTES`.

    Returns:
        int64 array (N,), 0–7 in the order of `fer_utils.expressions.EXPRESSIONS`, −1 where the rule drops the image.

    Example:
        >>> majority_labels(np.array([[0, 0, 6, 2, 1, 1, 0, 0, 0, 0], [5, 5, 0, 0, 0, 0, 0, 0, 0, 0]])).tolist()
        [3, -1]
    """
    counted = _without_singles(votes)
    return np.where(2 * counted.max(axis=1) > counted.sum(axis=1), _LABELS[counted.argmax(axis=1)], -1)


def argmax_labels(votes: np.ndarray) -> np.ndarray:
    """The class of most votes, the first in the order of `VOTES` among equals; −1 for "unknown", "NF" and no votes.

    Arguments and result are those of `majority_labels`.

    Example:
        >>> argmax_labels(np.array([[0, 3, 0, 3, 1, 1, 1, 1, 0, 0], [4, 0, 0, 0, 0, 0, 0, 0, 6, 0]])).tolist()
        [1, -1]
    """
    return np.where(votes.any(axis=1), _LABELS[votes.argmax(axis=1)], -1)


def probability_votes(votes: np.ndarray) -> np.ndarray:
    """The votes that FER+'s own code makes a distribution of (its modes "probability" and "crossentropy").

    Single votes count as none. Of the rest, classes are taken from the most voted down (equals together), until they
    hold three quarters of the votes or are three; "unknown" or "NF" on the way ends it. The image is dropped if the
    classes taken then hold no more than half of the votes, or are more than three.

    Args:
        votes: int array (N, 10), columns in the order of `VOTES`.

    Returns:
        int array (N, 10), the votes for the classes taken, else 0; a row of zeros for an image that is dropped. A row
        divided by its sum is the distribution.

    Example:
        >>> probability_votes(np.array([[0, 4, 0, 3, 2, 1, 0, 0, 0, 0]]))[0].tolist()  # 7 of the 9 are enough
        [0, 4, 0, 3, 0, 0, 0, 0, 0, 0]
    """
    counted = _without_singles(votes)
    total = counted.sum(axis=1)
    taken, going = np.zeros_like(counted), total > 0
    for _ in range(3):
        going &= (4 * taken.sum(axis=1) < 3 * total) & ((taken > 0).sum(axis=1) < 3)
        left = np.where(going[:, None], counted - taken, 0)  # (N, 10)
        highest = (left > 0) & (left == left.max(axis=1, keepdims=True))
        taken[:, :NUM_CLASSES] += np.where(highest, left, 0)[:, :NUM_CLASSES]
        going &= ~highest[:, NUM_CLASSES:].any(axis=1)
    kept = (2 * taken.sum(axis=1) > total) & ((taken > 0).sum(axis=1) <= 3)
    return np.where(kept[:, None], taken, 0)


def _without_singles(votes: np.ndarray) -> np.ndarray:
    return np.where(votes == 1, 0, votes)
