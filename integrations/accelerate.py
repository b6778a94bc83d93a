"""accelerate: `Accelerator(log_with=LRTrack())`."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, ClassVar

from lrtrack._optional import load
from lrtrack.capture.accumulation import FixedDivisor
from lrtrack.capture.optimizers import world_size
from lrtrack.errors import UsageError, warn
from lrtrack.integrations._accelerate_checkpoints import register_before_loading, save, saved
from lrtrack.integrations._accelerate_optimizers import inner_of, pairs_of
from lrtrack.integrations._callback_options import key_of, with_signature
from lrtrack.integrations._callback_runs import CallbackRuns
from lrtrack.integrations._transformers_schedules import name_schedule
from lrtrack.integrations._unsupported import is_observable
from lrtrack.tracking import TrackedRun

_tracking: Any = load("accelerate.tracking", extra="accelerate", at_least="1.8.1")
_accelerator: Any = load("accelerate.accelerator", extra="accelerate", at_least="1.8.1")

#: Recorded at each step already; loops log the rate after the scheduler has changed it.
_RECORDED = ("lr", "grad_norm", "grad_norm_preclip", "momentum")


class LRTrack(_tracking.GeneralTracker):  # type: ignore[misc]
    """Records learning rate, gradient norms and loss at each step of a prepared optimizer.

        accelerator = Accelerator(log_with=LRTrack())
        model, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)
        accelerator.init_trackers("experiment", config={"batch_size": 64})

    Call `init_trackers` after `prepare`: it begins the run, and `end_training` ends it. Metrics
    passed to `accelerator.log` are recorded at the optimizer step just done. List this tracker
    last, so that it can join a run that another one opens in MLflow or W&B. With several
    optimizers, each one's class name is the prefix of its metrics.

    Each further `init_trackers` begins a further training (`find_executable_batch_size`, several
    trainings in one program): a run that is still open ends as FAILED, and a new one records the
    optimizers that were prepared since.

    `save_state` stores the runs in `lrtrack.json`, and `load_state`, before or after
    `init_trackers`, goes on in them at their step, unless another run has been opened by then.
    Making an `LRTrack` wraps `Accelerator.load_state` for that.

    accelerate has trackers in its main process only, so `loss` is that process's own, unless the
    loop logs another one: `accelerator.log({"loss": accelerator.gather(loss).mean()})`. For
    `loss_over="mean"`, and under FSDP2, all processes must record: use `with
    lrtrack.track(optimizer, scheduler)` there, with the objects that `prepare` returned.

    Attributes:
        run: the run of the (first) optimizer, open or ended; None before.

    Args:
        optimizer: the optimizer to record; None: all prepared ones.
        scheduler: its scheduler.
        **options: options of `lrtrack.track()`. By default `experiment` and `config` are those of
            `init_trackers`.

    Raises:
        TypeError: an option does not exist.
        UsageError: an option has an invalid value, as `loss_over="mean"` in several processes; by
            `init_trackers`, if nothing is prepared.
    """

    name = "lrtrack"
    requires_logging_directory = False

    #: Runs that have begun, by thread; they may outlive their Accelerator and tracker.
    _begun: ClassVar[dict[int, list[tuple[Callable[[], Any], CallbackRuns]]]] = {}

    @with_signature()
    def __init__(self, optimizer: Any = None, scheduler: Any = None, **options: Any) -> None:
        super().__init__()
        self._blocks = CallbackRuns("LRTrack", options)
        if options.get("loss_over") is not None and world_size() > 1:
            raise UsageError(
                "accelerate starts trackers in its main process only, where the losses of the "
                "others are unknown. Fix: use `with lrtrack.track(optimizer, scheduler, "
                'loss_over="mean")` in all processes, with the objects that prepare() returned.'
            )
        self._key = key_of(self.name, options)
        self._pair = (optimizer, scheduler, "")
        self._accelerator: Callable[[], Any] = lambda: None
        self._experiment: str | None = None
        self._call: FrameType | None = None
        self._starts = 0
        self._config: Any = None
        self._waiting = False
        self._pairs_begun: list[tuple[Any, Any, str]] = []
        self._defaults: dict[str, Any] = {}
        self._hooked: Callable[[], Any] = lambda: None
        self._loaded: list[tuple[str, int]] = []
        self._used: weakref.WeakSet[Any] = weakref.WeakSet()
        register_before_loading(_accelerator.Accelerator, _register_trackers)
        self.run: TrackedRun | None = None

    @property
    def tracker(self) -> TrackedRun | None:
        """The run, as `accelerator.get_tracker("lrtrack", unwrap=True)` returns it."""
        return self.run

    def start(self) -> None:
        """Begin, unless the configuration is set afterwards.

        `init_trackers` appends this object to its trackers each time and then starts all of them.
        Only the last of these calls begins the run, as other trackers have opened theirs by then.
        """
        call = _init_trackers(self)
        if call is not None:
            self._starts = self._starts + 1 if call is self._call else 1
            self._call = call
            accelerator = call.f_locals["self"]
            if self._starts < sum(tracker is self for tracker in accelerator.trackers):
                return
            self._accelerator = weakref.ref(accelerator)
            self._experiment = call.f_locals["project_name"]
        self._config, self._call = None, None
        self._waiting = call is not None and call.f_locals.get("config") is not None
        if not self._waiting:
            self._begin({})

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Begin with this configuration."""
        if self._waiting:
            self._waiting, self._config = False, values
            self._begin(values)
        elif values is not self._config:
            warn("LRTrack: this configuration is ignored, as the run has already begun.")

    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Record metrics at the optimizer step just done; the loop's own `step` is ignored."""
        for run in self._blocks.runs[:1]:
            run.log({name: value for name, value in values.items() if name not in _RECORDED})

    def finish(self) -> None:
        """End the run."""
        self._blocks.leave()

    def _begin(self, config: Mapping[str, Any]) -> None:
        """Begin a run; one that an earlier training left open ends as FAILED."""
        self._blocks.leave(failed=True)
        self._end_abandoned()
        pairs = self._new_pairs()
        if not pairs:
            raise UsageError(
                "LRTrack has no optimizer to record. Fix: call accelerator.init_trackers() after "
                "accelerator.prepare(optimizer, …), or pass LRTrack(optimizer, scheduler)."
            )
        self._used.update(inner_of(optimizer) for optimizer, _, _ in pairs)
        accelerator = self._accelerator  # a weak reference: it may be deleted before its run ends
        models = getattr(accelerator(), "_models", ())
        if all(is_observable("LRTrack", optimizer, models) for optimizer, _, _ in pairs):
            self._pairs_begun = pairs
            self._defaults = {"experiment": self._experiment, "config": config}
            self._enter(self._loaded if self._hooked() is accelerator() else [])
            self._loaded = []
            if accelerator() is not None:
                self._register(accelerator())
                self._begun[threading.get_ident()].append((accelerator, self._blocks))

    def _enter(self, states: Sequence[tuple[str, int]] = ()) -> None:
        """Open the runs: those of a checkpoint at their step, if it has as many."""
        if len(states) == len(self._pairs_begun) and self._may_go_on(states):
            try:
                self._open([run_id for run_id, _ in states])
                self._set_steps(states)
                return
            except Exception as error:
                warn(f"lrtrack could not go on in the checkpoint's run: {error!r}.")
        self._open([])

    def _open(self, resume: Sequence[str]) -> None:
        for _, scheduler, _ in self._pairs_begun:
            name_schedule(scheduler)
        for run in self._blocks.enter(self._pairs_begun, resume, **self._defaults)[:1]:
            self.run = run
        accelerator = self._accelerator
        self._blocks.weight_losses(
            FixedDivisor(lambda: getattr(accelerator(), "gradient_accumulation_steps", 1))
        )

    def _register(self, accelerator: Any) -> None:
        """Take part in checkpoints.

        Not by `register_for_checkpointing`: a checkpoint that was saved without this tracker, or
        with it, could then only be loaded in the same way.
        """
        if self._hooked() is not accelerator:
            self._hooked = weakref.ref(accelerator)
            accelerator.register_save_state_pre_hook(self._save)
            accelerator.register_load_state_pre_hook(self._load)

    def _save(self, models: Any, weights: Any, output_dir: str) -> None:
        """Called by `save_state`."""
        try:
            states = [run.state_dict() for run in self._blocks.runs]
            if states:
                save(output_dir, self._key, states)
        except Exception as error:
            warn(f"lrtrack could not save the state of its run: {error!r}.")

    def _load(self, models: Any, input_dir: str) -> None:
        """Called by `load_state`: go on in the checkpoint's runs at their step."""
        try:
            states = saved(input_dir, self.name, self._key)
            if not self._blocks.runs:
                self._loaded = states  # for the runs that `init_trackers` will open
            elif states and len(states) == len(self._blocks.runs):
                self._go_on(states)
        except Exception as error:
            warn(f"lrtrack could not go on in the checkpoint's run: {error!r}.")

    def _go_on(self, states: list[tuple[str, int]]) -> None:
        if all(run.step < 0 for run in self._blocks.runs):  # its id would have to be waited for
            if self._may_go_on(states):
                self._blocks.discard()
                self._enter(states)
                return
        elif [run_id for run_id, _ in states] != [run.id for run in self._blocks.runs]:
            return  # a training of its own, which takes over the weights of another
        self._set_steps(states)

    def _may_go_on(self, states: Sequence[tuple[str, int]]) -> bool:
        """Whether the user has opened no other run to write to."""
        return all(self._blocks.earlier(run_id) for run_id, _ in states)

    def _set_steps(self, states: Sequence[tuple[str, int]]) -> None:
        for run, (_, step) in zip(self._blocks.runs, states, strict=True):
            run.load_state_dict({"step": step})

    def _new_pairs(self) -> list[tuple[Any, Any, str]]:
        """The optimizers to record: the user's, else those prepared since the last run."""
        accelerator = self._accelerator()
        prepared = list(getattr(accelerator, "_optimizers", ()))
        new = [optimizer for optimizer in prepared if inner_of(optimizer) not in self._used]
        user_optimizer = self._pair[0]
        if user_optimizer is not None:
            inner = inner_of(user_optimizer)
            if inner not in self._used or not new or any(inner_of(o) is inner for o in new):
                return [self._pair]
        return list(pairs_of(new or prepared, getattr(accelerator, "_schedulers", ())))

    def _end_abandoned(self) -> None:
        """End the runs of this thread whose Accelerator no longer exists."""
        thread = threading.get_ident()
        open_now = [(owner, blocks) for owner, blocks in self._begun.get(thread, ()) if blocks.runs]
        if open_now:
            gc.collect()
        self._begun[thread] = []
        for owner, blocks in open_now:
            if owner() is None:
                blocks.leave(failed=True)
            else:
                self._begun[thread].append((owner, blocks))


def _register_trackers(accelerator: Any) -> None:
    """Have the trackers that were given to an Accelerator take part in its checkpoints."""
    for tracker in getattr(accelerator, "log_with", ()):
        if isinstance(tracker, LRTrack):
            tracker._register(accelerator)


def _init_trackers(tracker: LRTrack) -> FrameType | None:
    """The call of `Accelerator.init_trackers`, whose arguments such trackers are not given."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        trackers = getattr(frame.f_locals.get("self"), "trackers", ())
        if "project_name" in frame.f_locals and any(other is tracker for other in trackers):
            return frame
        frame = frame.f_back
    return None
