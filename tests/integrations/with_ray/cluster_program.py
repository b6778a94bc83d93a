"""Twenty steps down a parabola, which wait or fail in the middle, for `test_cluster.py`.

Run as `cluster_program.py ADDRESS NAME`, it is the driver of a sweep of three such trials.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

import lrtrack
from lrtrack.integrations.ray import report, track, with_tracking

TOTAL = 20
#: What the trials of a driver do after their ninth step.
KINDS = ("kept", "unkept", "failing")


class Weight(torch.nn.Module):
    """One number, whose square is the loss."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.full((), value))


def train(config: dict[str, Any]) -> None:
    """Trains; all but `unkept` trials with checkpoints. In the middle it waits, or fails once."""
    place = Path(config["place"])
    weight = Weight(1.0 + config["seed"])
    opt = torch.optim.SGD(weight.parameters(), lr=0.1)
    sched = lrtrack.scheduler(opt, "cosine", total_steps=TOTAL)
    parts = {"opt": opt, "sched": sched, "model": weight}
    kind = config["kind"]
    with track(opt, sched, checkpoint=None if kind == "unkept" else parts) as run:
        for step in range(run.step + 1, TOTAL):
            opt.zero_grad()
            weight.value.square().backward()
            rate, loss = opt.param_groups[0]["lr"], weight.value.square().item()
            opt.step()
            note(place / f"{kind}.jsonl", step=step, lr=rate, loss=loss)
            sched.step()
            report(run, every=4)
            if step == 8:
                interlude(place, kind)


def note(file: Path, **values: float) -> None:
    """Notes what a step has used, and in which trial and process, and on which node."""
    name, node = tune.get_context().get_trial_name(), ray.get_runtime_context().get_node_id()
    line = {
        "trial": name,
        "kind": file.stem,
        "pid": os.getpid(),
        "node": node,
        **values,
    }
    with file.open("a") as lines:
        lines.write(json.dumps(line) + "\n")


def interlude(place: Path, kind: str) -> None:
    """Fails once, or waits for the test."""
    (place / f"{kind}.waiting").touch()
    if kind == "failing" and not (place / "failed").exists():
        (place / "failed").touch()
        raise RuntimeError("failed")
    while not (place / "go").exists():
        time.sleep(0.02)


def tuner(name: str, place: Path, kinds: tuple[str, ...], retries: int = 0) -> tune.Tuner:
    """Returns a sweep with a trial of each kind; the first runs on the head, others elsewhere."""

    def resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        where = "head" if config["kind"] == kinds[0] else "other"
        return tune.PlacementGroupFactory([{"CPU": 0.1, where: 0.1}])

    space = {"place": str(place), "seed": 1, "kind": tune.grid_search(list(kinds))}
    return tune.Tuner(
        tune.with_resources(trainable(), resources),
        param_space=space,
        tune_config=tune.TuneConfig(trial_dirname_creator=str),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(place.parent / "ray"),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=retries),
        ),
    )


def trainable() -> Any:
    """Returns the function of the trials; no block waits for its upload."""
    return with_tracking(train, experiment="rays", flush_timeout=0.0)


if __name__ == "__main__":
    ray.init(address=sys.argv[1], log_to_driver=False)
    tuner(sys.argv[2], Path.cwd() / sys.argv[2], KINDS).fit()
