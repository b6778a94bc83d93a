"""transformers: `Trainer(..., callbacks=[LRTrack()])`."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import weakref
from collections.abc import Mapping
from types import FrameType
from typing import Any, ClassVar

from lrtrack._optional import load
from lrtrack.capture.accumulation import FixedDivisor, Weight, exact
from lrtrack.integrations._blocks import Blocks
from lrtrack.integrations._unsupported import observable
from lrtrack.trackers import registry
from lrtrack.trackers.base import DEFAULT_EXPERIMENT
from lrtrack.tracking import TrackedRun

_transformers: Any = load("transformers", extra="transformers", at_least="4.50")

#: Under this name checkpoints keep which run they are of.
_KEPT = "lrtrack"
#: What the Trainer measures of an evaluation beside the model.
_TIMES = ("_runtime", "_per_second", "_time", "epoch")


class LRTrack(_transformers.TrainerCallback):  # type: ignore[misc]
    """Records learning rate, gradient norms and loss at each optimizer step of a `Trainer`.

    At each step, whatever `logging_steps` is; evaluations are recorded at the step that they
    follow. Where the Trainer's own callback opens a run in MLflow or W&B (`report_to`), that run
    is joined, wherever in the list of callbacks this one is. MLflow's callback has metrics
    `loss` and `grad_norm` as well: give `prefix="lrtrack/"`, or `logging_strategy="no"`, to have
    them apart.

    Checkpoints say which run they are of: `trainer.train(resume_from_checkpoint=…)` goes on in it,
    and no step is written twice. A training that is left by an exception, of which no callback
    hears, ends as FAILED with the program, or when another one begins.

    Attributes:
        run: the run of the training under way, or of the last one; None before the first step,
            or where nothing is observed.

    Args:
        **options: those of `lrtrack.track()`. Where nothing is said, the Trainer's arguments give
            `seed`, `name` (of `run_name`) and, in `config`, what makes a batch and an epoch.

    Raises:
        TypeError: an option that does not exist.
        UsageError: a value that does not exist.
    """

    #: By thread: which callback has begun there, and its blocks, which may outlive it.
    _begun: ClassVar[dict[int, tuple[weakref.ref[LRTrack], Blocks]]] = {}

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._blocks = Blocks("LRTrack", options)
        self._waiting = False
        self._told_by_others = False
        self._kept: dict[str, Any] = {}
        self.run: TrackedRun | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End what no callback has heard the end of."""
        thread = threading.get_ident()
        if thread in self._begun:
            last, blocks = self._begun[thread]
            if last() is self or _trainer_of(last()) is None:
                blocks.leave(failed=True)
        self._begun[thread] = weakref.ref(self), self._blocks
        self._waiting, self.run = True, None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin, now that all other callbacks have opened their runs."""
        if self._waiting:
            self._begin(args, state, kwargs)

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Record what an evaluation in the course of the training has found."""
        if self._waiting:  # `eval_on_start`
            self._begin(args, state, kwargs)
        for run in self._blocks.runs:
            # A callback of the Trainer's that has opened the run writes them there itself.
            if not self._told_by_others:
                run.log({n: v for n, v in (metrics or {}).items() if not n.endswith(_TIMES)})

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Have ready what a checkpoint is to keep."""
        for run in self._blocks.runs:
            self._kept["step"] = run.step
            if control.should_save or control.should_evaluate:  # an evaluation may decide to save
                self._kept.update(run.state_dict())

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Likewise."""
        self.on_step_end(args, state, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the run."""
        self._waiting = False
        self._begun.pop(threading.get_ident(), None)
        self._blocks.leave()

    def _begin(self, args: Any, state: Any, kwargs: Mapping[str, Any]) -> None:
        self._waiting = False
        optimizer, model = kwargs.get("optimizer"), kwargs.get("model")
        if not observable("LRTrack", optimizer, [model]):
            return
        found = {
            "seed": args.seed,
            "name": state.trial_name or _name(args),
            "model": model,
            "config": _config(args, state, kwargs.get("train_dataloader")),
        }
        kept, resumed = dict(state.stateful_callbacks.get(_KEPT) or {}), state.global_step > 0
        joined = self._joined()
        self._told_by_others = bool(joined and {"mlflow", "wandb"} & set(args.report_to))
        earlier: list[str] = []
        if resumed and kept.get("id") and (not joined or kept["id"] in joined):
            earlier = [kept["id"]]
        pair = (optimizer, kwargs.get("lr_scheduler"), "")
        for run in self._blocks.enter([pair], earlier, **found):
            if resumed:
                run.load_state_dict({"step": kept.get("step", state.global_step - 1)})
            self.run = run
        self._blocks.weight_losses(_weight(args, _trainer_of(self)))
        self._kept = state.stateful_callbacks[_KEPT] = {}

    def _joined(self) -> set[str | None]:
        """Ids of the runs that somebody has open in the trackers which are written to."""
        asked = self._options.get("tracker")
        found = registry.resolve(asked) if asked else map(registry.get, registry.names())
        targets = [each.target(None, DEFAULT_EXPERIMENT) for each in found if each.active()]
        return {target.run_id for target in targets if target.joined}


def _name(args: Any) -> str | None:
    # Earlier releases put the folder where no name was given.
    return args.run_name if args.run_name != args.output_dir else None


def _config(args: Any, state: Any, loader: Any) -> dict[str, Any]:
    accumulation = args.gradient_accumulation_steps
    found = {
        "per_device_train_batch_size": args.per_device_train_batch_size,
        "gradient_accumulation_steps": accumulation,
        "num_train_epochs": state.num_train_epochs,
        **(state.trial_params or {}),
    }
    with contextlib.suppress(TypeError):  # a stream has no length
        found["steps_per_epoch"] = math.ceil(len(loader) / accumulation)
    return found


def _weight(args: Any, trainer: Any) -> Weight:
    """How the Trainer divides the losses of accumulated batches.

    By the number of their labels, or by that of the batches there are. Before transformers 4.52 an
    incomplete group was divided by `gradient_accumulation_steps` in the second case.
    """
    names = _transformers.Trainer.training_step.__code__.co_names
    by_labels = trainer is not None and (
        getattr(trainer, "model_accepts_loss_kwargs", False)
        or getattr(trainer, "compute_loss_func", None)
    )
    if by_labels or "current_gradient_accumulation_steps" in names:
        return exact
    return FixedDivisor(lambda: args.gradient_accumulation_steps)


def _trainer_of(callback: LRTrack | None) -> Any:
    """The Trainer that has the callback and is in its loop, around this call; None without one."""
    frame: FrameType | None = sys._getframe()
    while callback is not None and frame is not None:
        trainer = frame.f_locals.get("self")
        handler = getattr(trainer, "callback_handler", None)
        if any(each is callback for each in getattr(handler, "callbacks", ())):
            return trainer
        frame = frame.f_back
    return None
