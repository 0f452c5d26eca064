"""What `make lab` and `make app` start, on a free loopback port, with settings of their own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
# JupyterLab asks whether it may fetch news, and renders only the cells in view; neither helps here.
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
PLACES = {
    "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython",
}  # fmt: skip


@contextlib.contextmanager
def serve(command: str, checkout: Path, home: Path, *options: str):
    """`python -m fer_utils COMMAND` in `checkout`; yields its log, process and port, and ends it with its kernels."""
    for name, settings in SETTINGS.items():
        package, plugin = name.split(":")
        path = home / "settings" / package / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        **{name: str(home / place) for name, place in PLACES.items()},
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "fer_utils", command, "--no-browser", f"--port={port}", *options]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=checkout, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process, port
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # the server takes its kernels along
        process.wait(30)


def wait_for(answer, home: Path, process: subprocess.Popen, seconds: float = 120):
    """What `answer()` returns once it does not raise; the server's log if that takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, ValueError):  # not there yet, or half written
            return answer()
        time.sleep(0.2)
    raise RuntimeError((home / "log").read_text())


def lab(checkout: Path, home: Path):
    """JupyterLab; yields its `url` and `token`."""

    def address() -> dict:
        paths = list(home.glob("runtime/jpserver-*.json"))
        return json.loads(paths[0].read_text() if paths else "")

    options = ["--ip=127.0.0.1", "--LabApp.expose_app_in_browser=True"]
    with serve("lab", checkout, home, *options) as (process, _):
        yield wait_for(address, home, process)


def app(checkout: Path, home: Path):
    """Voilà; yields its URL."""
    with serve("app", checkout, home, "--Voila.ip=127.0.0.1") as (process, port):
        url = f"http://127.0.0.1:{port}/"
        wait_for(lambda: socket.create_connection(("127.0.0.1", port)).close(), home, process)
        yield url
