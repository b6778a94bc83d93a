"""What transformers' Trainer knows of the training that its callback records."""

from __future__ import annotations

import contextlib
import math
import sys
from types import FrameType
from typing import Any

from lrtrack.capture.accumulation import FixedDivisor, Weight, exact
from lrtrack.integrations._callback_runs import whole_steps
from lrtrack.integrations._ray_driver import options_of, tune_context


def run_name(args: Any) -> str | None:
    """The name that the user gave the run."""
    # Earlier releases set the name to the output folder by default.
    return args.run_name if args.run_name != args.output_dir else None


def config(args: Any, state: Any, loader: Any) -> dict[str, Any]:
    """The sizes of batches and epochs, and what a search has chosen."""
    accumulation = args.gradient_accumulation_steps
    batch = args.per_device_train_batch_size
    if args.auto_find_batch_size:  # the arguments keep the size of the first attempt
        batch = (state.train_batch_size or batch) // max(1, args.n_gpu)
    values = {
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        **(state.trial_params or {}),
    }
    # With `max_steps` and data of unknown length, it stands for as many as it takes.
    if whole_steps(state.num_train_epochs) is not None:
        values["num_train_epochs"] = state.num_train_epochs
    with contextlib.suppress(TypeError):  # an iterable dataset has no length
        values["steps_per_epoch"] = math.ceil(len(loader) / accumulation)
    return values


def weight(args: Any, trainer: Any, trainer_class: Any) -> Weight:
    """The weight for the Trainer's division of the losses of accumulated batches.

    It divides by the number of their labels, or by the number of batches. Before transformers 4.52,
    an incomplete group was divided by `gradient_accumulation_steps` in the second case.
    """
    names = trainer_class.training_step.__code__.co_names
    by_labels = trainer is not None and (
        getattr(trainer, "model_accepts_loss_kwargs", False)
        or getattr(trainer, "compute_loss_func", None)
    )
    if by_labels or "current_gradient_accumulation_steps" in names:
        return exact
    return FixedDivisor(lambda: args.gradient_accumulation_steps)


def trial_of(trainer: Any) -> dict[str, Any]:
    """Name, group and tags of a trial of `hyperparameter_search`; empty outside of one."""
    trial = getattr(trainer, "_trial", None)
    if trial is None:
        return {}
    context = tune_context()
    if context is not None:
        return options_of(context)
    number, study = getattr(trial, "number", None), getattr(trial, "study", None)
    name = {} if number is None else {"name": f"trial-{number}"}
    return name if study is None else {**name, "group": study.study_name}


def trainer_of(callback: Any) -> Any:
    """The Trainer with this callback whose training loop called us; None if there is none."""
    frame: FrameType | None = sys._getframe()
    while callback is not None and frame is not None:
        trainer = frame.f_locals.get("self")
        handler = getattr(trainer, "callback_handler", None)
        if any(other is callback for other in getattr(handler, "callbacks", ())):
            return trainer
        frame = frame.f_back
    return None
