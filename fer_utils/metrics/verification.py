"""Are two images of one person? Pairs of held-out people, and the field's measures."""

import numpy as np

from fer_utils.core import require

PAIRS = 6000  # as in LFW's protocol, half of one person and half of two


def make_pairs(subjects, pairs=PAIRS, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Draw as many pairs of one person as of two, no pair twice, `pairs` at most.

    People count alike, as in LFW's protocol: everybody gives one pair before anybody gives a
    second; for a pair of two, people are drawn first, then an image of each.

    Returns positions (P, 2) in `subjects` (N,), the smaller first; and (P,) bool, True for one
    person, which come first.
    """
    _, numbers, sizes = np.unique(np.asarray(subjects), return_inverse=True, return_counts=True)
    several = np.sum(sizes > 1)
    found = f"{pairs} pairs, {several} such people of {len(sizes)}; hold out more people"
    expected = "at least 2 pairs and 2 people with several images to verify"
    require(pairs > 1 and several > 1, expected, found)
    members = np.split(np.argsort(numbers, kind="stable"), np.cumsum(sizes)[:-1])
    random = np.random.default_rng(seed)
    same = _of_one_person(members, pairs // 2, random)
    different = _of_two_people(members, len(same), random)
    same = same[: len(different)]
    chosen = np.concatenate([random.permutation(same), different])
    return chosen, np.arange(len(chosen)) < len(same)


def cosine_similarities(embeddings, pairs) -> np.ndarray:
    """Cosine of the embeddings (N, D) of each pair (P, 2); 0 where one is zero."""
    embeddings = np.asarray(embeddings, dtype=np.float64)
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    units = embeddings / np.where(lengths > 0, lengths, 1)
    first, second = units[np.asarray(pairs)].transpose(1, 0, 2)
    return np.einsum("pd,pd->p", first, second).clip(-1, 1)


def pixel_embeddings(images) -> np.ndarray:
    """What needs no learning: grey pixels of (N, H, W, 3) images, each image's mean removed."""
    grey = np.asarray(images).mean(axis=3, dtype=np.float32).reshape(len(images), -1)
    return grey - grey.mean(axis=1, keepdims=True)


def roc_curve(similarities, same) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False and true accept rates, at every threshold that tells two pairs apart, and these.

    Rates are of pairs of two people and of one, from 0 to 1. The falling thresholds begin with
    infinity: what is as similar is accepted.
    """
    similarities, same = np.asarray(similarities, dtype=float), np.asarray(same, dtype=bool)
    fits = similarities.shape == same.shape and np.isfinite(similarities).all()
    found = f"shapes {similarities.shape} and {same.shape}, or NaN"
    require(fits, "a finite similarity for each pair", found)
    both = same.any() and not same.all()
    require(both, "pairs of both kinds", f"{same.sum()} of {len(same)} same")
    order = np.argsort(-similarities, kind="stable")
    falling, accepted = similarities[order], same[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)  # of equal similarities
    tar, far = (np.append(0, np.cumsum(kind)[last] / kind.sum()) for kind in (accepted, ~accepted))
    return far, tar, np.append(np.inf, falling[last])


def verify(similarities, same, folds=10) -> dict[str, float | int]:
    """Measures of pairs (P,), `same` where they are of one person.

    `accuracy` and `standard_error` by LFW's protocol (threshold from all folds but one; the k-th
    pair of a kind is in fold k modulo `folds`); `auc`; `eer`, equal error rate; `tar_at_far_0.01`,
    `tar_at_far_0.001` where one false accept is no more than that; `threshold` over all pairs.
    """
    far, tar, _ = roc_curve(similarities, same)
    similarities, same = np.asarray(similarities), np.asarray(same, dtype=bool)
    folds = min(folds, same.sum(), (~same).sum())
    found = f"{same.sum()} pairs of one person, {(~same).sum()} of two; hold out more people"
    require(folds > 1, "2 folds or more, and as many pairs of each kind", found)
    place = np.where(same, np.cumsum(same), np.cumsum(~same)) % folds
    accuracies = []
    for fold in range(folds):
        tested = place == fold
        threshold = _best_threshold(similarities[~tested], same[~tested])
        accuracies.append(np.mean((similarities >= threshold) == same, where=tested))
    excess = far - (1 - tar)  # rises from −1 to 1; the error rates are equal where it is 0
    after = (excess >= 0).argmax() + np.array([-1, 0])
    scores = {
        "accuracy": np.mean(accuracies),
        "auc": np.trapezoid(tar, far),
        "standard_error": np.std(accuracies, ddof=1) / np.sqrt(folds),
        "eer": np.interp(0, excess[after], far[after]),
        "threshold": _best_threshold(similarities, same),
    }
    for rate in (0.01, 0.001):
        if (~same).sum() * rate >= 1:
            scores[f"tar_at_far_{rate}"] = tar[far <= rate].max()
    return {name: float(value) for name, value in scores.items()} | {"pairs": len(same)}


def _best_threshold(similarities, same) -> float:
    """Where most answers are right, midway between two similarities; of equals the lowest."""
    levels, place = np.unique(similarities, return_inverse=True)
    gains = np.bincount(place, np.where(same, -1, 1))  # in right answers, once above a level
    best = np.append(0, gains.cumsum()).argmax()
    edges = np.concatenate([levels[:1], levels, [np.nextafter(levels[-1], np.inf)]])
    low, high = edges[best : best + 2]
    between = low + (high - low) / 2
    return float(between if between > low else high)


def _of_one_person(members: list[np.ndarray], wanted: int, random) -> np.ndarray:
    """Up to `wanted` pairs (P, 2); one of everybody comes before the second of anybody."""
    available = np.array([len(images) * (len(images) - 1) // 2 for images in members])
    most = 1  # pairs of a person, so that together they are enough
    while np.minimum(available, most).sum() < min(wanted, available.sum()):
        most += 1
    found = []
    for images, pairs in zip(members, available, strict=True):
        numbers = random.choice(pairs, min(pairs, most), replace=False)
        # Pair number n of the triangle (0, 1), (0, 2), (1, 2), (0, 3), …
        second = ((1 + np.sqrt(8 * numbers + 1)) // 2).astype(np.int64)
        first = numbers - second * (second - 1) // 2
        found.append(images[np.stack([first, second], axis=1)])
    turns = np.concatenate([np.arange(len(pairs)) for pairs in found])
    return np.concatenate(found)[np.lexsort([random.random(len(turns)), turns])[:wanted]]


def _of_two_people(members: list[np.ndarray], wanted: int, random) -> np.ndarray:
    """Up to `wanted` different pairs (P, 2); a few less where nearly all would be needed."""
    sizes = np.array([len(images) for images in members])
    images, starts = np.concatenate(members), np.cumsum(sizes) - sizes
    drawn = np.empty((0, 2), dtype=np.int64)
    for _ in range(20):
        people = random.integers(len(members), size=(4 * wanted, 2))
        people = people[people[:, 0] != people[:, 1]]
        pairs = np.sort(images[starts[people] + random.integers(sizes[people])], axis=1)
        drawn = np.concatenate([drawn, pairs])
        drawn = drawn[np.sort(np.unique(drawn, axis=0, return_index=True)[1])]
        if len(drawn) >= wanted:
            break
    return drawn[:wanted]
