"""What `make lab` and `make app` start, on a free loopback port, with settings of their own."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
# JupyterLab renders only the cells in view, and asks about news; neither helps here.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
FOLDERS = {
    "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "IPYTHONDIR": "ipython",
}  # fmt: skip


@contextlib.contextmanager
def serve(command: str, checkout: Path, home: Path, *options: str):
    """`python -m fer_utils COMMAND` in `checkout`; yields its address, the token in it."""
    for name, settings in SETTINGS.items():
        path = home / "settings/@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = {name: str(home / folder) for name, folder in FOLDERS.items()}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **folders}
    words = [sys.executable, "-m", "fer_utils", command, "--no-browser", f"--port={port}", *options]
    log = home / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            words, cwd=checkout, env=environment, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield wait_for_address(log, port, process)
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # the server takes its kernels along
        process.wait(30)


def wait_for_address(log: Path, port: int, process: subprocess.Popen, seconds: float = 600) -> str:
    """The address that the server says it runs at."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        said = re.search(rf"http://[\w.]+:{port}/\S*\?token=\w+", log.read_text())
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            if said:
                return said[0]
        time.sleep(0.2)
    raise RuntimeError(log.read_text())
