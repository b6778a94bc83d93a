"""Compares what arrives from a training with lrtrack and with alternatives: into PEERS.md.

One training, with accumulation, clipping and a schedule that is stepped each step, is logged in
each way, read back from its tracker, and compared with the values that the loop itself recorded.
Then it is killed part-way, and the steps that arrived are counted.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import peer_files
import peer_reading
import peer_ways
import processes
import results
import ways
from peer_reading import Arrived, verdict
from peer_ways import ACCUMULATE, BATCH, CLIP, FILES, PEAK, STEPS, WAYS
from results import Row

HERE = Path(__file__).parent
#: Number of steps before the kill, and seconds per step.
KILLED, PAUSE = 30, 0.1

_NAMES = {
    "lr": ("lr", "learning_rate", "lr-SGD"),
    "loss": ("loss",),
    "preclip": ("grad_norm_preclip", "grad_norm", "grad_2.0_norm_total"),
    "clipped": ("grad_norm", "grad_2.0_norm_total"),
    "momentum": ("momentum", "lr-SGD-momentum"),
}
_BY_HAND = ("wandb", "accelerate", *FILES)
#: The benchmark row that gives a way's cost.
_COSTS = {
    "lightning": ways.framework_row("lightning"),
    "transformers": ways.framework_row("transformers"),
    "wandb": ways.loop_row("wandb-watch"),
    "accelerate": ways.framework_row("accelerate"),
    **{way: ways.loop_row(way) for way in FILES},
    "lrtrack": ways.IN_SAME_ROUNDS,
    "lrtrack-lightning": ways.framework_row("lightning", "lrtrack"),
    "lrtrack-transformers": ways.framework_row("transformers", "lrtrack"),
}
_HEAD = ("way", "LR", "loss", "grad norm before clipping", "after", "momentum",
         "schedule’s parameters", "device", "steps after `kill -9`", "mean ± std over seeds",
         "loop time")  # fmt: skip
_PACKAGES = ("torch", "lightning", "transformers", "accelerate", "mlflow", "wandb", "dvclive",
             "tensorboard", "trackio", "swanlab")  # fmt: skip


def measure(rounds: int, steps: int, into: Path = HERE) -> list[Row]:
    """Fills the table, in the folder `into`; ignores rounds and steps."""
    loopback = processes.beside("wandb_loopback").Loopback
    rows: list[list[str]] = []
    truth: dict[str, Any] = {}
    with processes.place() as shared:
        store = processes.empty_store(shared)
        for way in ("lrtrack", *(way for way in WAYS if way != "lrtrack" and _installed(way))):
            with _place(store) as folder, loopback() as server:
                arrived, seen = _run(way, folder, server)
            truth = truth or {**seen, "loss": _means(seen["batches"])}
            if seen["weights"] != truth["weights"]:
                raise SystemExit(f"{way} has trained another network")
            with _place(store) as folder, loopback() as server:
                killed = _killed(way, folder, server, arrived, truth)
            rows.append(_row(way, arrived, truth, killed, into))
            print(f"  {rows[-1]}", file=sys.stderr, flush=True)
    order = list(WAYS.values())
    rows.sort(key=lambda row: order.index(row[0]))
    (into / "PEERS.md").write_text(_written(rows))
    return [Row("ways to log whose records were read back", str(len(rows)), note="see PEERS.md")]


def _installed(way: str) -> bool:
    return way not in FILES or ways.installed(way)


@contextmanager
def _place(store: Path) -> Iterator[Path]:
    """Prepares an empty directory with a ready-made store, because creating one is slow."""
    with processes.place() as folder:
        shutil.copy(store, folder / "mlflow.db")
        yield folder


def _run(way: str, folder: Path, server: Any) -> tuple[Arrived, dict[str, Any]]:
    """Trains to the end."""
    _start(way, folder, server, 0, -1)
    return _read(way, folder, server), json.loads((folder / "truth.json").read_text())


def _killed(way: str, folder: Path, server: Any, whole: Arrived, truth: Mapping[str, Any]) -> str:
    """Trains until killed, waits for pending deliveries, and counts the steps that arrived."""
    _start(way, folder, server, PAUSE, KILLED)
    processes.all_shipped(folder)
    if way == "wandb":
        time.sleep(10)  # lrtrack's own process outlives the training.
    found, state = _counted(way, folder, server, whole, truth)
    said = f"{found} of {KILLED}{state}"
    if way == "wandb":
        _sync(folder, server)
        found, _ = _counted(way, folder, server, whole, truth)
        said += f"; {found} after `wandb sync`"
    return said


def _counted(
    way: str, folder: Path, server: Any, whole: Arrived, truth: Mapping[str, Any]
) -> tuple[int, str]:
    """Returns the steps that arrived from a killed training, and the status of its run."""
    arrived = _read(way, folder, server)
    state = f", {arrived.state}" if arrived.state else ""
    if rates := _points(way, arrived, "lr"):
        first = peer_reading.first_step(_points(way, whole, "lr"), STEPS)
        return peer_reading.steps_right(rates, truth["lr"][:KILLED], first), state
    steps = {step for step, _ in _points(way, arrived, "loss")}
    return min(KILLED, len(steps)), state


def _sync(folder: Path, server: Any) -> None:
    """Runs the sync command that W&B recommends."""
    own = processes.environment(**server.environment(), WANDB_MODE="online")
    runs = [path.name for path in (folder / "wandb").glob("run-*")]
    command = [sys.executable, "-m", "wandb", "sync", "--no-skip-online", *runs]
    subprocess.run(command, cwd=folder / "wandb", env=own, capture_output=True, timeout=120)


def _start(way: str, folder: Path, server: Any, pause: float, kill: int) -> None:
    own = processes.environment(MLFLOW_TRACKING_URI=_uri(folder), DVC_NO_ANALYTICS="1")
    own |= {"PYTHONWARNINGS": "ignore", **server.environment(), "WANDB_MODE": "online"}
    own |= {"TRACKIO_DIR": str(folder), "SWANLAB_SAVE_DIR": str(folder)}
    command = [sys.executable, str(HERE / "peer_ways.py"), way, str(pause), str(kill)]
    done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True)
    if done.returncode != (-9 if kill >= 0 else 0):
        raise SystemExit(f"{way} failed:\n{done.stderr[-4000:]}")


def _read(way: str, folder: Path, server: Any) -> Arrived:
    if way in FILES:
        return peer_files.READERS[way](folder)
    if way == "dvclive":
        return peer_reading.from_dvclive(folder / "dvclive")
    if way == "wandb":
        (run,) = server.runs("tester/peers")
        return peer_reading.from_wandb(run)
    return peer_reading.from_mlflow(_uri(folder))


def _uri(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def _points(way: str, arrived: Arrived, name: str) -> peer_reading.Points:
    names = _NAMES[name]
    if name == "clipped" and "grad_norm_preclip" not in arrived.series:
        return []  # There is only one norm, so it is compared with the norm before clipping.
    return next((arrived.series[each] for each in names if each in arrived.series), [])


def _means(batches: Sequence[float]) -> list[float]:
    parts = [batches[at : at + ACCUMULATE] for at in range(0, len(batches), ACCUMULATE)]
    return [sum(part) / len(part) for part in parts]


def _row(
    way: str, arrived: Arrived, truth: Mapping[str, Any], killed: str, into: Path
) -> list[str]:
    cells = []
    for name in _NAMES:
        cell = verdict(_points(way, arrived, name), truth, name)
        cells.append(f"{cell}, by hand" if way in _BY_HAND and cell != "–" else cell)
    if arrived.histograms:
        cells[2] += "; histograms"
    ours = way.startswith("lrtrack")
    seeds = "one command" if ours else "in its page" if way == "wandb" else "–"
    return [
        WAYS[way],
        *cells,
        _schedule(arrived),
        _device(arrived),
        killed,
        seeds,
        _cost(way, into),
    ]


def _schedule(arrived: Arrived) -> str:
    words = arrived.words
    named = any("OneCycleLR" in value for value in words.values())
    if named and any(k.endswith("max_lr") and v == str(PEAK) for k, v in words.items()):
        return "all"
    if named:
        return "the name"
    return "of its own kinds" if "lr_scheduler_type" in words else "–"


def _device(arrived: Arrived) -> str:
    if arrived.words.get("lrtrack.device.type") == "cpu":
        return "the parameters’"
    return "the machine’s" if arrived.machine else "–"


def _cost(way: str, into: Path) -> str:
    if way not in _COSTS:
        return "not measured"
    found = results.find(results.read(into), *_COSTS[way])
    return found["measured"] if found else "not measured"


def _version(package: str) -> str:
    with suppress(PackageNotFoundError):
        return f"{package} {version(package)}"
    return ""


def _written(rows: Sequence[Sequence[str]]) -> str:
    used = ", ".join(filter(None, map(_version, _PACKAGES)))
    absent = [WAYS[way] for way in WAYS if not _installed(way)]
    gap = f"- Not installed here, and so without a row: {'; '.join(absent)}.\n" if absent else ""
    lines = [f"| {' | '.join(cells)} |" for cells in (_HEAD, ["---"] * len(_HEAD), *rows)]
    return (
        "# What arrives, beside what people use now\n\n"
        "Written by `tox -e bench -- --only arrived`. One training of "
        f"{STEPS} optimizer steps on the digits (accumulation of {ACCUMULATE} batches of {BATCH}, "
        f"clipping at {CLIP}, OneCycleLR to {PEAK} stepped each step, SGD with momentum, CPU), "
        "logged in each way, its records read back from where it logs and compared with what the "
        "loop itself has seen; the weights are bit-equal in all ways.\n\n"
        + "\n".join(lines)
        + "\n\n"
        "- LR, loss, gradient norms and momentum: “each step”: every optimizer step has the value "
        "that it used, and the loss is the mean of what it accumulated; “last batch’s”: each step "
        "has the loss of its last batch only; “by hand”: as the author of the loop writes it.\n"
        "- The schedule’s parameters: “of its own kinds”: of schedules that the framework builds "
        "from its own arguments; this one was given to it as an object, and the run says "
        "`lr_scheduler_type: linear`.\n"
        f"- Steps after `kill -9`: the process is killed after {KILLED} steps of {PAUSE} s; the "
        "steps that have their learning rate (or, where there is none, a loss) where it is "
        "logged, and how MLflow says that the run stands. W&B is looked at after 10 s, and "
        "once more after its user has called `wandb sync --no-skip-online`. TensorBoard, trackio "
        "and SwanLab are looked at in their files; Aim's are not read back. lrtrack may lose its "
        "last second.\n"
        "- Mean ± std over seeds: from the documentation, not measured.\n"
        "- Loop time: with logging / without, from [RESULTS.md](RESULTS.md), in another "
        f"training of longer steps without accumulation.\n{gap}\n"
        f"{time.strftime('%Y-%m-%d')}; {used}.\n"
    )


if __name__ == "__main__":
    measure(1, peer_ways.STEPS)
    print((HERE / "PEERS.md").read_text())
