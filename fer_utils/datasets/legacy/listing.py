"""The image files below a folder, found the same way by every reader that walks one."""

import os
from pathlib import Path

IMAGE_ENDINGS = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))


def list_images(root: str | os.PathLike) -> list[str]:
    """Paths of all image files below `root`, relative to it, in a fixed order on every machine.

    Links to folders are followed, each real folder once, so that a loop of links ends. What begins with a dot is
    hidden, as are the `__MACOSX` folders of archives. Endings count in any case (`.JPG`).

    Args:
        root: a folder.

    Returns:
        list of paths with forward slashes, sorted.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     os.makedirs(f"{folder}/b")
        ...     for name in ("b/2.JPG", "a.png", "notes.txt", ".hidden.png"):
        ...         open(f"{folder}/{name}", "w").close()
        ...     list_images(folder)
        ['a.png', 'b/2.JPG']
    """
    root, found, seen = Path(root), [], set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and name != "__MACOSX")
        below = Path(folder).relative_to(root)
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_ENDINGS:
                found.append((below / name).as_posix())
    return sorted(found)
