"""What a server that is down costs the training: `python tests/bench/down.py [ROUNDS [STEPS]]`.

The bare loop, tracked into a running `mlflow server`, and tracked into one that is down; all three
in each round, in a random order, each in a fresh process. Prints one line of Markdown.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

HERE = Path(__file__).parent


def main(rounds: int = 5, steps: int = 3000) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as up:
        up_ratio, down_ratio = compare(up, f"http://127.0.0.1:{free_port()}", rounds, steps)
    print(f"| lrtrack, into a server that is up / down | {up_ratio:.3f} / {down_ratio:.3f} | |")


def compare(up: str, down: str, rounds: int, steps: int) -> tuple[float, float]:
    """Medians over rounds of the loop's time against bare, with a server and without."""
    ratios: dict[str, list[float]] = {up: [], down: []}
    for number in range(rounds):
        took = {uri: loop(uri, steps) for uri in random.sample(["", up, down], 3)}
        for uri, found in ratios.items():
            found.append(took[uri] / took[""])
        print(f"  round {number + 1} of {rounds} done", file=sys.stderr)
    return statistics.median(ratios[up]), statistics.median(ratios[down])


def loop(uri: str, steps: int) -> float:
    """Seconds of one loop, tracked into the server at `uri`, or bare where that is empty."""
    way = "lrtrack-away" if uri else "bare"
    with tempfile.TemporaryDirectory() as folder:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        done = subprocess.run(
            [sys.executable, str(HERE / "loop.py"), way, str(steps), "1"],
            cwd=folder,
            env={**environment, "LRTRACK_SHIPPER_IDLE": "0.2", "MLFLOW_TRACKING_URI": uri},
            capture_output=True,
            text=True,
        )
        end_shippers(folder)
        if done.returncode:
            raise SystemExit(f"{way} failed:\n{done.stderr}")
        return float(json.loads(done.stdout.splitlines()[-1])["loop"])


def end_shippers(folder: str) -> None:
    """End the shippers of journals below `folder`: without a server they stay for minutes."""
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "lrtrack.shipping" in command and any(folder in part for part in command):
            process.kill()
            process.wait(10)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A running `mlflow server`; its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=folder, start_new_session=True, **quiet)
    try:
        wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(url: str, patience: float = 120.0) -> None:
    """Wait until somebody answers at `url`."""
    deadline = time.monotonic() + patience
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
