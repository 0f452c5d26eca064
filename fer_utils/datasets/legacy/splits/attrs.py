"""New manifests made of old ones' rows."""

import copy

import pandas as pd


def with_attrs(rows: pd.DataFrame, source: pd.DataFrame, **attrs) -> pd.DataFrame:
    """`rows` with a fresh index and `source`'s attrs, extended; deep copies, for pandas shares attrs between frames."""
    rows = rows.reset_index(drop=True)
    rows.attrs = {**copy.deepcopy(source.attrs), **attrs}
    return rows
