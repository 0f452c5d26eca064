"""Datasets (being rebuilt)."""
import inspect, os
import numpy as np
from fer_utils.core import InputError, check_choice
from fer_utils.datasets.legacy.affectnet import read_affectnet
from fer_utils.datasets.legacy.fer2013 import read_fer2013
from fer_utils.datasets.legacy.ferplus import read_ferplus
from fer_utils.datasets.legacy.folder import read_folder
from fer_utils.datasets.legacy.identities import read_identities, sample_people
from fer_utils.datasets.legacy.rafdb import read_rafdb
from fer_utils.datasets.legacy.boxes import with_margin
from fer_utils.datasets.legacy.votes import vote_shares
from fer_utils.datasets.legacy.images import load_images, hash_images, image_opener
from fer_utils.datasets.legacy.images import load_image as open_image
from fer_utils.datasets.legacy.squares import decoding
from fer_utils.datasets.legacy.manifest import check_manifest, class_counts, count_table, read_manifest, sample_rows, write_manifest
from fer_utils.datasets.synthetic import Draws, draw_examples, draw_manifest, read_synthetic
try:
    from fer_utils.datasets.splits import official, paper_protocol, k_fold, subsample, without, hold_out_subjects, hold_out_within_subjects, remove_training_leaks
except ImportError:
    from fer_utils.datasets.legacy.splits import official, paper_protocol, k_fold, subsample, without, hold_out_subjects, hold_out_within_subjects, remove_training_leaks as _rtl
    def remove_training_leaks(m, near=False): return _rtl(m, m["fingerprint"])
_READERS = dict(affectnet=read_affectnet, fer2013=read_fer2013, ferplus=read_ferplus, folder=read_folder, identities=read_identities, rafdb=read_rafdb, synthetic=read_synthetic)
def load_squares(manifest, side):
    with decoding(manifest, side) as get:
        x = np.concatenate([get(s, min(s+256, len(manifest)))[0] for s in range(0, len(manifest), 256)])
    return x[..., :1].copy() if (x[..., 0] == x[..., 1]).all() and (x[..., 0] == x[..., 2]).all() else x
def read_dataset(dataset, root=None, **options):
    check_choice("dataset", dataset, _READERS)
    return _READERS[dataset](**options) if dataset == "synthetic" else _READERS[dataset](root, **options)
