"""Face verification: are two images of one person? Pairs of held-out people, and the field's measures (no torch)."""

import numpy as np

from fer_utils.errors import InputError

PAIRS = 6000  # as in LFW's protocol, half of one person and half of two
FALSE_ACCEPT_RATES = (0.01, 0.001)


def make_pairs(subjects, pairs: int = PAIRS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw as many pairs of one person as of two, no pair twice.

    People count alike, not images, as in LFW's protocol: for a pair of one person everybody with two images or more
    gives one pair before anybody gives a second; for a pair of two, two people are drawn and then an image of each.

    Args:
        subjects: (N,) whose image each is.
        pairs: how many, at most; fewer where there are no more of a kind.
        seed: draws them.

    Returns:
        int64 array (P, 2) of positions in `subjects`, the smaller first, and bool array (P,), True for one person; the
        P / 2 pairs of one person first, each kind in random order.

    Raises:
        InputError: with fewer than two people of two images or more, or for `pairs` below 2.

    Example:
        >>> chosen, same = make_pairs(["a", "b", "a", "b"])
        >>> chosen.tolist(), same.tolist()
        ([[1, 3], [0, 2], [0, 3], [0, 1]], [True, True, False, False])
    """
    if pairs < 2:
        raise InputError(f"expected at least 2 pairs, one of a kind, found {pairs}; ask for more")
    names = np.asarray(subjects)
    _, numbers, sizes = np.unique(names, return_inverse=True, return_counts=True)
    if (sizes > 1).sum() < 2:
        raise InputError(
            f"expected two people or more with two images or more to verify, found {(sizes > 1).sum()} among "
            f"{len(sizes)}; hold out more people"
        )
    members = np.split(np.argsort(numbers, kind="stable"), np.cumsum(sizes)[:-1])  # positions of each person's images
    random = np.random.default_rng(seed)
    same = _of_one_person(members, pairs // 2, random)
    different = _of_two_people(members, len(same), random)
    same = same[: len(different)]
    chosen = np.concatenate([random.permutation(same), different])
    return chosen, np.arange(len(chosen)) < len(same)


def cosine_similarities(embeddings, pairs) -> np.ndarray:
    """Cosine of the two embeddings of each pair.

    Args:
        embeddings: (N, D).
        pairs: (P, 2) positions.

    Returns:
        float64 array (P,), −1 to 1; 0 where an embedding is zero.

    Example:
        >>> cosine_similarities([[1.0, 0.0], [3.0, 3.0], [0.0, 0.0]], [[0, 1], [0, 2]]).round(3).tolist()
        [0.707, 0.0]
    """
    embeddings = np.asarray(embeddings, dtype=np.float64)
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    first, second = (embeddings / np.where(lengths > 0, lengths, 1))[np.asarray(pairs)].transpose(1, 0, 2)
    return np.einsum("pd,pd->p", first, second).clip(-1, 1)


def pixel_embeddings(images) -> np.ndarray:
    """What needs no learning, for comparison: grey pixels, each image's mean removed.

    Args:
        images: (N, H, W, 3) uint8; 32 × 32 pixels are usual.

    Returns:
        float32 array (N, H · W).

    Example:
        >>> pixel_embeddings(np.array([[[[0, 0, 0], [90, 90, 90]]]], np.uint8)).tolist()
        [[-45.0, 45.0]]
    """
    grey = np.asarray(images).mean(axis=3, dtype=np.float32).reshape(len(images), -1)
    return grey - grey.mean(axis=1, keepdims=True)


def roc_curve(similarities, same) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rates at which pairs are taken for one person, at every threshold that tells two pairs apart.

    Args:
        similarities: (P,), the higher the more alike.
        same: (P,) bool.

    Returns:
        false accept rates (of pairs of two people), true accept rates (of pairs of one), both from 0 to 1, and the
        thresholds, falling: a pair is accepted if its similarity is at least the threshold; the first is infinite.

    Raises:
        InputError: unless there is a finite similarity for each pair, and pairs of both kinds.

    Example:
        >>> far, tar, thresholds = roc_curve([0.9, 0.2, 0.5, 0.1], [True, True, False, False])
        >>> far.tolist(), tar.tolist()
        ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    """
    similarities, same = _checked(similarities, same)
    order = np.argsort(-similarities, kind="stable")
    falling, accepted = similarities[order], same[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)  # of each run of equal similarities
    tar = np.append(0, np.cumsum(accepted)[last] / same.sum())
    far = np.append(0, np.cumsum(~accepted)[last] / (~same).sum())
    return far, tar, np.append(np.inf, falling[last])


def best_threshold(similarities, same) -> float:
    """Threshold with the highest share of right answers, midway between two similarities; of equals the lowest.

    Args:
        similarities: (P,).
        same: (P,) bool.

    Example:
        >>> best_threshold([0.8, 0.6, 0.2, 0.1], [True, True, False, False])
        0.4
    """
    far, tar, thresholds = roc_curve(similarities, same)
    positive, negative = np.sum(same), np.size(same) - np.sum(same)
    right = np.rint(tar * positive) + negative - np.rint(far * negative)  # whole numbers, so that equals are equal
    best = len(right) - 1 - right[::-1].argmax()
    if best in (0, len(right) - 1):  # nothing is accepted, or everything
        return float(np.nextafter(thresholds[1], np.inf) if best == 0 else thresholds[-1])
    high, low = thresholds[best], thresholds[best + 1]
    between = low + (high - low) / 2
    return float(between if between > low else high)


def verify(similarities, same, folds: int = 10) -> dict[str, float | int]:
    """Measures of verification.

    Args:
        similarities: (P,), the higher the more alike.
        same: (P,) bool, True for a pair of one person.
        folds: of the accuracy; as many as the rarer kind has pairs, if that is less.

    Returns:
        dict of fractions:

        - `accuracy` and `standard_error`: LFW's protocol: the threshold is chosen on all folds but one and the accuracy
          measured on that one; mean over the folds and its standard error. The k-th pair of a kind is in fold k modulo
          `folds`. (A person may be in several folds: all that is learned there is one threshold, but with few people
          others would change the accuracy by more than its standard error.)
        - `auc`: area under the ROC curve.
        - `eer`: equal error rate, where false accepts and false rejects are equally frequent, on the straight lines
          between the curve's points.
        - `tar_at_far_0.01`, `tar_at_far_0.001`: true accept rate at a false accept rate of at most 1 % and 0.1 %; only
          where there are enough pairs of two people for one of them to be that share.
        - `threshold`: `best_threshold` over all pairs, in units of the similarity.
        - `pairs`: P.

    Raises:
        InputError: unless there is a finite similarity for each pair and two pairs or more of each kind, and for fewer
            than two folds.

    Example:
        >>> scores = verify([0.9, 0.8, 0.3, 0.7, 0.2, 0.1], [True, True, True, False, False, False], folds=3)
        >>> round(scores["accuracy"], 3), round(scores["auc"], 3), round(scores["eer"], 3)
        (0.5, 0.889, 0.333)
    """
    similarities, same = _checked(similarities, same)
    folds = min(folds, same.sum(), (~same).sum())
    if folds < 2:
        raise InputError(
            f"expected two folds or more and two pairs or more of each kind, found {same.sum()} pairs of one person "
            f"and {(~same).sum()} of two; hold out more people"
        )
    place = np.where(same, np.cumsum(same), np.cumsum(~same)) % folds
    accuracies = []
    for fold in range(folds):
        held_out = place == fold
        threshold = best_threshold(similarities[~held_out], same[~held_out])
        accuracies.append(np.mean((similarities >= threshold) == same, where=held_out))
    far, tar, _ = roc_curve(similarities, same)
    return {
        "accuracy": float(np.mean(accuracies)),
        "standard_error": float(np.std(accuracies, ddof=1) / np.sqrt(folds)),
        "auc": float(np.trapezoid(tar, far)),
        "eer": _equal_error_rate(far, tar),
        **{
            f"tar_at_far_{rate}": float(tar[far <= rate].max())
            for rate in FALSE_ACCEPT_RATES
            if (~same).sum() * rate >= 1
        },
        "threshold": best_threshold(similarities, same),
        "pairs": len(same),
    }


def _of_one_person(members: list[np.ndarray], wanted: int, random: np.random.Generator) -> np.ndarray:
    """Up to `wanted` pairs (P, 2); one pair of everybody comes before the second of anybody, and so on."""
    available = np.array([len(images) * (len(images) - 1) // 2 for images in members])
    wanted = min(wanted, available.sum())
    most = 1  # pairs of a person, so that together they are enough
    while np.minimum(available, most).sum() < wanted:
        most += 1
    found, turns = [], []
    for images, pairs in zip(members, available, strict=True):
        numbers = random.choice(pairs, min(pairs, most), replace=False)
        # Pair number n of the triangle (0, 1), (0, 2), (1, 2), (0, 3), …
        second = ((1 + np.sqrt(8 * numbers + 1)) // 2).astype(np.int64)
        found.append(np.stack([images[numbers - second * (second - 1) // 2], images[second]], axis=1))
        turns.append(np.arange(len(numbers)))
    found, turns = np.concatenate(found), np.concatenate(turns)
    return found[np.lexsort([random.random(len(turns)), turns])[:wanted]]


def _of_two_people(members: list[np.ndarray], wanted: int, random: np.random.Generator) -> np.ndarray:
    """Up to `wanted` different pairs (P, 2); a few less where nearly all that there are would be needed."""
    sizes, starts = np.array([len(images) for images in members]), np.cumsum([0, *map(len, members[:-1])])
    images, drawn = np.concatenate(members), np.empty((0, 2), dtype=np.int64)
    for _ in range(20):
        people = random.integers(len(members), size=(4 * wanted, 2))
        people = people[people[:, 0] != people[:, 1]]
        pairs = np.sort(images[starts[people] + random.integers(sizes[people])], axis=1)
        drawn = np.concatenate([drawn, pairs])
        _, first = np.unique(drawn, axis=0, return_index=True)
        drawn = drawn[np.sort(first)]
        if len(drawn) >= wanted:
            break
    return drawn[:wanted]


def _equal_error_rate(far: np.ndarray, tar: np.ndarray) -> float:
    """Where the ROC curve crosses 1 − TAR = FAR."""
    excess = far - (1 - tar)  # rises from −1 to 1
    after = int((excess >= 0).argmax())
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return float(far[after - 1] + share * (far[after] - far[after - 1]))


def _checked(similarities, same) -> tuple[np.ndarray, np.ndarray]:
    similarities, same = np.asarray(similarities, dtype=np.float64), np.asarray(same, dtype=bool)
    if similarities.ndim != 1 or similarities.shape != same.shape or not np.isfinite(similarities).all():
        raise InputError(
            f"expected a finite similarity for each pair, found shapes {similarities.shape} and {same.shape} with "
            f"{np.sum(~np.isfinite(similarities))} that are not finite; check the embeddings"
        )
    if same.all() or not same.any():
        raise InputError(f"expected pairs of one person and of two, found {same.sum()} of one among {len(same)}")
    return similarities, same
