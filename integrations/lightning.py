"""Lightning: `LRTrack`, a callback that records the optimizers of a Trainer.

    from lrtrack.integrations.lightning import LRTrack

    trainer = Trainer(callbacks=[LRTrack(experiment="digits")])

It supports the package `lightning`, and `pytorch_lightning` if that is installed instead.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar
from uuid import uuid4

from lrtrack.capture.accumulation import FixedDivisor
from lrtrack.capture.optimizers import unwrap
from lrtrack.capture.own_counts import optimizer_count
from lrtrack.errors import UsageError, warn
from lrtrack.integrations._callback_options import Copied, key_of, state_in, with_signature
from lrtrack.integrations._callback_runs import CallbackRuns, open_runs
from lrtrack.integrations._lightning_config import config
from lrtrack.integrations._lightning_package import callback_classes
from lrtrack.integrations._lightning_searches import Probes
from lrtrack.integrations._lightning_trainer import (
    joinable,
    observable_optimizers,
    prefixes,
    scheduler_of,
    setup,
    shared_metrics,
    total_steps,
    trackers,
)
from lrtrack.tracking import TrackedRun
from lrtrack.tracking.placement import as_child


class LRTrack(Copied, *callback_classes()):  # type: ignore[misc]
    """Records every optimizer of `trainer.fit()`, at each of its steps.

    It writes to the run of the Trainer's `MLFlowLogger` and `WandbLogger` if there are any, else
    where `track()` writes. A fit that resumes from a checkpoint continues the checkpoint's run,
    unless a logger or the user has opened another one by then. A checkpoint that names no run goes
    on in a new one, at the checkpoint's step. A second fit of the Trainer continues the run if it
    has the same module and schedule, else it is a new run.

    A scheduler that is replaced in mid-training, as by `StochasticWeightAveraging`, is followed:
    the run's schedule names both (`StepLR -> SWALR`). Steps by which Lightning looks for a learning
    rate or a batch size are no part of the run. Copies of this callback, or of its Trainer, record
    runs of their own.

    Several optimizers share the logger's run, else they have a run each, in one `group`. Each has
    a prefix: its scheduler's name in Lightning's configuration, else the submodule that it trains,
    else its class (`"Adam/"`, `"Adam-1/"`). Several schedulers of one optimizer are described as
    one schedule, `Schedulers`.

    In several processes `loss` is the mean over all of them, as `self.log(…, sync_dist=True)` gives
    it; `loss_over=None` records rank 0's.

    With `fast_dev_run`, where Lightning switches off loggers, nothing is recorded.

    Args:
        **options: as for `lrtrack.track()`. By default `seed` is taken from `seed_everything()`,
            `config` from `save_hyperparameters()` with the sizes of batches, `model` and, under
            automatic optimization, `total_steps` from the Trainer.

    Raises:
        TypeError: an option does not exist.
        UsageError: an option has an invalid value; when training begins, it does not fit.
    """

    OF_RUNS: ClassVar[Mapping[str, Any]] = {
        "_tracked": (), "_state": {}, "_at": -1, "_fitted": None, "_probes": None,
        "_schedulers": [], "_told": False, "_recorded": frozenset(), "_is_child": False,
    }  # fmt: skip

    @with_signature(loss_over="mean")
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._blocks = CallbackRuns("LRTrack", options)
        self._tracker = options.get("tracker")
        self._prefix = options.get("prefix") or ""
        self._prefixes = [self._prefix]
        self._key = key_of("LRTrack", options)
        self._tracked: Sequence[TrackedRun] = ()
        self._state: Mapping[str, Any] = {}
        self._at = -1
        #: The module of the last fit, and its optimizers and schedules.
        self._fitted: tuple[weakref.ref[Any], list[Any]] | None = None
        self._probes: Probes | None = None
        self._schedulers: list[Any] = []
        self._told = False
        #: Ids of all runs that it has recorded, and whether the last one was a child of the user's.
        self._recorded: frozenset[str] = frozenset()
        self._is_child = False

    @property
    def state_key(self) -> str:
        """The key of its state in checkpoints, which tells several callbacks of a Trainer apart."""
        return self._key

    @property
    def runs(self) -> list[TrackedRun]:
        """The open runs, in the order of `trainer.optimizers`; none outside the training."""
        return self._blocks.runs

    @property
    def run(self) -> TrackedRun | None:
        """The open run of the first optimizer; None outside the training."""
        return self.runs[0] if self.runs else None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin the runs: the optimizers exist now and a checkpoint was loaded."""
        try:
            optimizers = observable_optimizers(trainer)
            self._told = False
            if optimizers and not trainer.fast_dev_run:
                self._begin(trainer, pl_module, optimizers)
        except (UsageError, TypeError):
            raise
        except Exception as error:
            warn(f"lrtrack could not begin: {error!r}. Training continues without a record.")

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note that the optimizer's closure runs the last of `accumulate_grad_batches` batches.

        Also note a scheduler that was replaced since the last batch.
        """
        if self._probes is not None:
            self._probes.over()
        schedulers = [configured.scheduler for configured in trainer.lr_scheduler_configs]
        if schedulers != self._schedulers and self.runs:
            self._schedulers = schedulers
            self._follow(trainer)
        if pl_module.automatic_optimization:
            self._blocks.accumulate(True)

    def on_before_zero_grad(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Drop the losses so far, which count in no step."""
        self._blocks.accumulate(False)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the step of the training by Lightning's own count."""
        self._at = trainer.global_step
        if trainer.fit_loop.total_batch_idx == 0 or batch_idx + 1 == trainer.log_every_n_steps:
            self._tell_of_shared_metrics(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Warn of metrics of the user that have the names of ours."""
        self._tell_of_shared_metrics(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End the runs, before the loggers end theirs."""
        self._end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End the runs as FAILED, also if the exception leaves a search in mid-training."""
        self._end(failed=True)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """End runs that are still open when Lightning leaves."""
        self._end(failed=True)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: not what Lightning adds, methods of the module that is trained."""
        attributes = super().__getstate__()
        return {n: value for n, value in attributes.items() if n not in ("log", "log_dict")}

    def state_dict(self) -> dict[str, Any]:
        """The runs and their numbers of steps, for Lightning's checkpoints."""
        if self._tracked:
            runs = [run.state_dict() for run in self._tracked]
            self._state = {"runs": runs, "global_step": self._at}
        return dict(self._state)

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Take the state of a callback with other options, if it was the only one."""
        states = checkpoint.get("callbacks") or {}
        among = [other for other in trainer.callbacks if isinstance(other, LRTrack)]
        state = state_in(states, "LRTrack", self.state_key) if len(among) == 1 else None
        if self.state_key not in states and state is not None:
            self.load_state_dict(state)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume these runs if the next training continues at their step.

        In mid-training, as after a search for a learning rate, return to their steps at once.
        """
        states = state_dict.get("runs", ())
        if self.runs and [s["id"] for s in states] == [run.id for run in self._tracked]:
            for run, run_state in zip(self._tracked, states, strict=True):
                run.load_state_dict(run_state)
            return
        self._tracked, self._state, self._fitted = (), state_dict, None

    def _begin(self, trainer: Any, module: Any, optimizers: list[Any]) -> None:
        schedulers = [scheduler_of(optimizer, trainer) for optimizer in optimizers]
        fitted = self._fitted
        earlier = self._continued(trainer, module, optimizers, schedulers)
        run_trackers = trackers(self._tracker, trainer)
        open_ids = open_runs(joinable(run_trackers))
        resume = [s["id"] if s and (not open_ids or s["id"] in open_ids) else None for s in earlier]
        names = prefixes(optimizers, trainer, module) if len(optimizers) > 1 else [""]
        self._prefixes = [self._prefix + name for name in names]
        seed = os.environ.get("PL_GLOBAL_SEED", "")
        if self._probes is not None:  # of a fit whose end it was not told of
            self._probes.detach()
        self._probes = Probes(self, trainer, optimizers)
        # The logger's run stays open, and holds another training already.
        is_other = fitted not in (None, self._fitted) or (self._is_child and any(earlier))
        self._is_child = bool(open_ids & self._recorded) and is_other
        with as_child() if self._is_child else nullcontext():
            self._tracked = self._blocks.enter(
                zip(optimizers, schedulers, names, strict=True),
                resume=resume,
                tracker=run_trackers or None,
                group=f"lightning-{uuid4().hex[:8]}" if len(optimizers) > 1 else None,
                seed=int(seed) if seed.isdigit() else None,
                model=module,
                total_steps=total_steps(trainer, module, counts_all=any(earlier)),
                config=config(trainer, module),
                loss_over="mean",
            )
        self._recorded |= {run.id for run in self._tracked}
        self._blocks.weight_losses(FixedDivisor(lambda: trainer.accumulate_grad_batches))
        self._at = trainer.global_step
        self._schedulers = [configured.scheduler for configured in trainer.lr_scheduler_configs]
        for run, run_state in zip(self._tracked, earlier, strict=bool(self._tracked)):
            if run_state is not None:
                run.load_state_dict(run_state)

    def _continued(
        self, trainer: Any, module: Any, optimizers: list[Any], schedulers: list[Any]
    ) -> list[Mapping[str, Any] | None]:
        """For each optimizer the state that its run goes on with; None: it begins at step 0.

        Without the state of a run, a training that has made steps goes on at its step, in a new
        run; but another module or schedule in the same Trainer begins anew.
        """
        state, fitted = self.state_dict(), self._fitted
        setups = list(map(setup, optimizers, schedulers))
        self._fitted = weakref.ref(module), setups
        if fitted is not None and (fitted[0]() is not module or fitted[1] != setups):
            return [None] * len(optimizers)
        is_here = bool(state) and state["global_step"] == trainer.global_step
        if is_here and len(state["runs"]) == len(optimizers):
            return list(state["runs"])
        if fitted is not None or not trainer.global_step:
            return [None] * len(optimizers)
        made = [optimizer_count(unwrap(optimizer)) for optimizer in optimizers]
        if len(optimizers) == 1:
            made = [trainer.global_step]
        return [{"id": None, "step": count - 1} if count else None for count in made]

    def _follow(self, trainer: Any) -> None:
        """Describe the schedulers that the Trainer has now."""
        try:
            for at, optimizer in enumerate(observable_optimizers(trainer)):
                self._blocks.reschedule(at, scheduler_of(optimizer, trainer))
        except Exception as error:
            warn(f"lrtrack could not follow the new scheduler: {error!r}.")

    def _tell_of_shared_metrics(self, trainer: Any) -> None:
        if self._told or self._tracker is not None or not self.runs:
            return
        if names := shared_metrics(trainer, self._prefixes):
            self._told = True
            warn(
                f"The run of the logger has two series in one metric: {', '.join(names)} is logged "
                "by the module, and recorded by LRTrack at each step. Fix: "
                'LRTrack(prefix="lrtrack/"), or another name in self.log().'
            )

    def _end(self, failed: bool = False) -> None:
        if self._probes is not None:
            self._probes.detach()
        self._probes, self._schedulers = None, []
        try:
            self._blocks.leave(failed)
        except Exception as error:
            warn(f"lrtrack could not end the run properly: {error!r}.")
