"""The ways to log that the benchmark measures, and how they are called in its tables."""

from __future__ import annotations

import importlib.util

#: Ways of the loop that has no framework; `loop.py` runs them.
WAYS = {
    "bare": "the bare loop",
    "bare-again": "the bare loop once more",
    "norm": "the gradient norm alone, looked at by nobody",
    "lrtrack": "lrtrack, into MLflow on SQLite",
    "lrtrack-server": "lrtrack, into `mlflow server` on SQLite",
    "lrtrack-down": "lrtrack, into an `mlflow server` that is down all the time",
    "lrtrack-nonorm": 'lrtrack with `norms="off"`, into MLflow on SQLite',
    "lrtrack-norms-every": "lrtrack with `norms_every=10`, into MLflow on SQLite",
    "lrtrack-updates": "lrtrack with `updates=100`, into MLflow on SQLite",
    "lrtrack-wandb": "lrtrack, into a W&B run of its own, offline",
    "lrtrack-joined": "lrtrack, into the user's open W&B run, offline",
    "mlflow": "`mlflow.log_metrics` each step",
    "mlflow-async": "`mlflow.log_metrics(synchronous=False)` each step",
    "wandb": "`wandb.log` each step, offline",
    "wandb-watch": "`wandb.watch(log_freq=1)` and `wandb.log` each step, offline",
    "tensorboard": "TensorBoard's `SummaryWriter.add_scalar` each step",
    "trackio": "`trackio.log` each step",
    "swanlab": "`swanlab.log` each step, offline",
    "aim": "Aim's `Run.track` each step",
}
#: The ways in which users log by hand, each with the package that it needs.
BY_HAND = {
    "mlflow": "mlflow",
    "mlflow-async": "mlflow",
    "wandb": "wandb",
    "wandb-watch": "wandb",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "swanlab": "swanlab",
    "aim": "aim",
}
#: Ways of frameworks; `frameworks.py` runs them.
FRAMEWORKS = {
    "lightning": "Lightning's Trainer with LearningRateMonitor, `grad_norm` and MLFlowLogger",
    "transformers": "transformers' Trainer with its MLflow callback, `logging_steps=1`",
    "accelerate": '`Accelerator(log_with="mlflow")`, `accelerator.log` each step',
}


#: Where lrtrack's own loop time beside the ways by hand is: the part, and the row.
IN_SAME_ROUNDS = ("peers", "lrtrack in the same rounds")


def loop_row(way: str) -> tuple[str, str]:
    """Returns the part and the row that have the loop time of a way."""
    return "peers" if way in BY_HAND else "loops", f"loop time / bare: {WAYS[way]}"


def framework_row(name: str, how: str = "peer") -> tuple[str, str]:
    """Returns the part and the row that have the loop time of a framework's own way to log.

    Args:
        name: one of `FRAMEWORKS`.
        how: "peer", or "lrtrack" for lrtrack in that framework.
    """
    words = FRAMEWORKS[name] if how == "peer" else f"lrtrack in {name}"
    return "frameworks", f"loop time / the same without logging: {words}"


def installed(way: str) -> bool:
    """Returns whether the package that a way needs can be imported here."""
    return importlib.util.find_spec(BY_HAND[way]) is not None


def has_framework(name: str) -> bool:
    """Returns whether a framework can be imported here."""
    return importlib.util.find_spec(name) is not None
