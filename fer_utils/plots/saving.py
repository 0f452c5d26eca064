"""The only place that writes a figure."""

from pathlib import Path

from matplotlib.figure import Figure

from fer_utils.files import replaced
from fer_utils.plots.style import style

# Without dates and version numbers the same figure is the same bytes, and a rebuilt figure no change for git.
_METADATA = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


@style()
def save_figure(figure: Figure, path) -> list[Path]:
    """Write a figure as `<path>.pdf` and `<path>.png`, each complete or not at all, always the same bytes.

    Args:
        figure: any figure.
        path: file name without suffix; its folder is made.

    Returns:
        The two paths.

    >>> import tempfile
    >>> from fer_utils.plots import new_figure
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in save_figure(new_figure(), f"{folder}/fig01_empty")]
    ['fig01_empty.pdf', 'fig01_empty.png']
    """
    paths = []
    for suffix, metadata in _METADATA.items():
        final = Path(f"{path}.{suffix}")
        with replaced(final) as unfinished:
            figure.savefig(unfinished, format=suffix, metadata=metadata)
        paths.append(final)
    return paths
