"""What tracking costs, beside what people use now: `tox -e bench`.

Every figure is a median over rounds; in each round all ways run once, in a random order, each in
a fresh process and a fresh working directory, and the ratio is taken to the bare loop of the same
round: so a slow minute of the machine slows both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
WAYS = {
    "lrtrack": "lrtrack, into MLflow on SQLite",
    "lrtrack-wandb": "lrtrack, into a W&B run of its own, offline",
    "lrtrack-joined": "lrtrack, into the user's open W&B run, offline",
    "mlflow": "`mlflow.log_metrics` each step",
    "mlflow-async": "`mlflow.log_metrics(synchronous=False)`",
    "wandb": "`wandb.log` offline",
}


def empty_store(folder: Path) -> Path:
    """An MLflow store with its migrations done, to copy."""
    code = (
        "import mlflow, sys;"
        "c = mlflow.MlflowClient('sqlite:///' + sys.argv[1]); c.create_experiment('bench')"
    )
    path = folder / "mlflow.db"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True)
    return path


def run(way: str, steps: int, milliseconds: int, store: Path) -> dict[str, float]:
    """One loop in its own process and directory."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(store, Path(folder) / "mlflow.db")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        done = subprocess.run(
            [sys.executable, str(HERE / "loop.py"), way, str(steps), str(milliseconds)],
            cwd=folder,
            env={
                **environment,
                "WANDB_SILENT": "true",
                "WANDB_MODE": "offline",
                "LRTRACK_SHIPPER_IDLE": "0.2",
            },
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{way} failed:\n{done.stderr}")
        time.sleep(1.0)  # the shipper leaves
        return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(
    ways: list[str], steps: int, milliseconds: int, rounds: int, store: Path
) -> dict[str, dict[str, list[float]]]:
    """All ways in each round; per way the loop, its ratio to bare, and the time after it."""
    found: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds):
        order = random.sample(["bare", *ways], len(ways) + 1)
        times = {way: run(way, steps, milliseconds, store) for way in order}
        for way, took in times.items():
            into = found.setdefault(way, {"loop": [], "ratio": [], "after": []})
            into["loop"].append(took["loop"] / steps * 1e3)
            into["ratio"].append(took["loop"] / times["bare"]["loop"])
            into["after"].append(took["after"])
        print(f"  round {number + 1} of {rounds} at {milliseconds} ms done", file=sys.stderr)
    return found


def help_time(rounds: int = 9) -> float:
    """Seconds that `lrtrack --help` takes."""
    command = [sys.executable, "-c", "from lrtrack.cli import main; main(['--help'])"]
    took = []
    for _ in range(rounds):
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        took.append(time.perf_counter() - begun)
    return statistics.median(took)


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3000)
    rounds, steps = (parser.parse_args()).rounds, parser.parse_args().steps
    middle = statistics.median
    with tempfile.TemporaryDirectory() as folder:
        store = empty_store(Path(folder))
        small = compare(list(WAYS), steps, 1, rounds, store)
        large = compare(["lrtrack"], max(steps // 2, 1), 10, rounds, store)
        thin = compare(["lrtrack-nonorm"], steps, 1, rounds, store)
    bare = middle(small["bare"]["loop"])
    print(f"Loop of {steps} steps, one thread, {bare:.2f} ms a step, 3 metrics at each step:\n")
    print("| way | loop time / bare | seconds until all is stored, after the loop |")
    print("|---|---|---|")
    for way, words in WAYS.items():
        row = small[way]
        print(f"| {words} | {middle(row['ratio']):.2f} | {middle(row['after']):.1f} |")
    row = large["lrtrack"]
    slow = middle(large["bare"]["loop"])
    print(f"| lrtrack, steps of {slow:.1f} ms | {middle(row['ratio']):.3f} | |")
    extra = [
        (with_ - without) * 1e3
        for with_, without in zip(thin["lrtrack-nonorm"]["loop"], thin["bare"]["loop"], strict=True)
    ]
    print(f"\nWithout the norm: {middle(extra):.0f} µs a step of loop time, shipping going on.")
    print(f"\nOn the training thread alone, without the norm: {thread_cost():.1f} µs a step.")
    print(f"\n`lrtrack --help`: {help_time():.2f} s.")


def thread_cost(steps: int = 4000, rounds: int = 7) -> float:
    """Microseconds a step that the hooks and the journal's list take, without norm or shipper."""
    import torch

    import lrtrack

    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10**9)

    def loop() -> float:
        begun = time.perf_counter()
        for _ in range(steps):
            optimizer.zero_grad()
            (weight * 2.0).backward()
            optimizer.step()
            scheduler.step()
        return time.perf_counter() - begun

    found = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LRTRACK_DIR"] = folder
        loop()
        for _ in range(rounds):
            bare = loop()
            with lrtrack.track(optimizer, scheduler, tracker="local", norms="off"):
                found.append((loop() - bare) / steps * 1e6)
    return statistics.median(found)


if __name__ == "__main__":
    main()
