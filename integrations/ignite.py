"""PyTorch Ignite: a handler that is attached to a trainer, and tracks what the trainer trains.

    LRTrack(optimizer, scheduler).attach(trainer)
    trainer.run(loader, max_epochs=10)

The scheduler may be torch's or Ignite's own: `CosineAnnealingScheduler`, `PiecewiseLinear`,
`create_lr_scheduler_with_warmup(…)`, `LRScheduler(…)`, …; it stays attached as Ignite says.
`lrtrack.describe()` knows Ignite's once this module is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

from lrtrack._optional import load
from lrtrack.capture.describe import OPENERS, READERS, describe
from lrtrack.errors import UsageError, unknown, warn
from lrtrack.integrations._callback_runs import CallbackRuns, options_of
from lrtrack.settings import read
from lrtrack.tracking import TrackedRun
from lrtrack.tracking.options import Options, check, check_ownership, trackers

_PACKAGE = {"extra": "ignite", "package": "pytorch-ignite", "at_least": "0.5.2"}
_engine: Any = load("ignite.engine", **_PACKAGE)
_loggers: Any = load("ignite.handlers.base_logger", **_PACKAGE)
_schedulers: Any = load("ignite.handlers.param_scheduler", **_PACKAGE)

Engine, Events = _engine.Engine, _engine.Events


class LRTrack:
    """Records learning rate, gradient norms and loss at each optimizer step of a trainer.

    A run begins with the engine's run and ends with it: FINISHED, also after `terminate()`, or
    FAILED where an exception ends it. An engine that is interrupted keeps its run open for when it
    goes on. One that goes on after its end (`engine.state.iteration` is not 0) goes on in the same
    run, also in a new process with `Checkpoint`: `to_save={"lrtrack": handler, …}`, and
    `Checkpoint.load_objects` before `trainer.run`. Attach it before or after other handlers: it
    sees to it that it comes last in COMPLETED.

    Args:
        optimizer: what the trainer steps, or several by name, as for Ignite's loggers; then the
            name and a slash come before the metrics of each.
        scheduler: torch's or Ignite's own, or several by their optimizers' names; None means a
            constant schedule.
        **options: as for `lrtrack.track()`.

    Raises:
        TypeError: no optimizer or scheduler, or an option that does not exist.
        UsageError: a value that does not exist, or a scheduler of another optimizer.
    """

    def __init__(self, optimizer: Any, scheduler: Any = None, **options: Any) -> None:
        self._optimizers = dict(optimizer) if isinstance(optimizer, Mapping) else {"": optimizer}
        schedulers = _by_name(scheduler, self._optimizers)
        self._schedulers = {name: _for_track(schedulers.get(name)) for name in self._optimizers}
        self._blocks = {name: CallbackRuns("LRTrack", options) for name in self._optimizers}
        self._options = options_of("LRTrack", options)
        for name, each in self._optimizers.items():
            check_ownership(each, schedulers.get(name))
            check(replace(self._options, optimizer=each, scheduler=self._schedulers[name]))
        #: The last run of each optimizer, or what a checkpoint says of it.
        self._last: dict[str, TrackedRun | Mapping[str, Any]] = {}
        self._loaded = False
        self._engine: Any = None
        self._seen: int | None = None
        self._told = False

    @property
    def runs(self) -> list[TrackedRun]:
        """The open runs, in the order of the optimizers; none before and after the training."""
        return [run for blocks in self._blocks.values() for run in blocks.runs]

    @property
    def run(self) -> TrackedRun | None:
        """The open run, the first of several; None before and after the training."""
        return next(iter(self.runs), None)

    def attach(self, engine: Any) -> Self:
        """Track the runs of the trainer `engine` from now on; as a context manager, until it ends.

        Raises:
            TypeError, RuntimeError: no engine; attached already.
        """
        if not isinstance(engine, Engine):
            raise TypeError(f"attach() expects an Ignite engine, got {type(engine).__name__}")
        if self._engine is not None:
            raise RuntimeError("this LRTrack is attached already; detach() it, or make another one")
        self._engine = engine
        engine.add_event_handler(Events.STARTED, self._started)
        return self

    def detach(self) -> None:
        """Hear no more of the engine; a run that is open ends here, FINISHED. Idempotent."""
        self._detach(failed=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self._detach(failed=kind is not None)

    def attach_output_handler(
        self,
        engine: Any,
        event_name: Any = Events.COMPLETED,
        tag: str = "validation",
        metric_names: Any = None,
        output_transform: Callable[[Any], Any] | None = None,
        state_attributes: list[str] | None = None,
    ) -> Any:
        """Log an evaluator's metrics at the optimizer step that the trainer has just done.

        As of Ignite's own loggers, but for `global_step_transform`, as the step is known; returns
        Ignite's handle, whose `remove()` takes it out again.

        Args:
            engine, event_name: the evaluator, and when.
            tag: with a slash it comes before each name: `validation/accuracy`.
            metric_names: a list, or `"all"`; all where nothing else is asked for either.
            output_transform: makes a number, or a dict of numbers, of the engine's output.
            state_attributes: attributes of the engine's state to log.
        """
        if metric_names is None and output_transform is None and state_attributes is None:
            metric_names = "all"
        handler = _Output(tag, metric_names, output_transform, state_attributes=state_attributes)
        return engine.add_event_handler(event_name, handler, self, event_name)

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints: which runs these are, and how many steps they have made."""
        known = {name: _state(last) for name, last in self._last.items()}
        for name, blocks in self._blocks.items():
            for run in blocks.runs:
                known[name] = run.state_dict()
        return {"runs": known}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on in the runs of a checkpoint, and count from there.

        Raises:
            TypeError, ValueError: not what `state_dict()` has returned.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict should be a mapping, got {type(state_dict).__name__}")
        runs = state_dict.get("runs")
        if not isinstance(runs, Mapping) or not all(_is_state(each) for each in runs.values()):
            raise ValueError("this is no state of LRTrack: 'runs' with 'id' and 'step' of each")
        if strange := set(runs) - set(self._blocks):
            raise ValueError(unknown("optimizer", min(strange), self._blocks))
        self._last, self._loaded = dict(runs), True
        for name, state in runs.items():
            for run in self._blocks[name].runs:
                run.load_state_dict(state)

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Record `metrics` at the step just done, in all open runs; see `TrackedRun.log`."""
        for run in self.runs:
            run.log(metrics)
        if not self.runs and metrics and not self._told:
            self._told = True
            warn(
                f"lrtrack has no open run for {', '.join(metrics)}: an evaluator's metrics are "
                "recorded while the trainer runs (its own COMPLETED is still in time)"
            )

    def _started(self, engine: Any) -> None:
        self._leave(failed=True)
        goes_on = self._loaded or engine.state.iteration > 0
        states = {name: _state(last) for name, last in self._last.items() if goes_on}
        joined = _joined(self._options) if states else set()
        self._last, self._loaded, self._seen = {}, False, None
        try:
            for name, blocks in self._blocks.items():
                prefix = f"{name}/" if name else ""
                known = states.get(name)
                # Not in a run that is over, where the user has opened another one.
                again = [known["id"]] if known and joined <= {known["id"]} else []
                pair = (self._optimizers[name], self._schedulers[name], prefix)
                for run in blocks.enter([pair], again):
                    if known is not None:
                        run.load_state_dict(known)
        except BaseException:
            self._leave(failed=True)
            raise
        engine.add_event_handler(Events.TERMINATE, self._terminated)
        engine.add_event_handler(Events.COMPLETED, self._completed)
        # First, as the handlers of others may raise; see `_raised`.
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._raised)
        hearing = engine._event_handlers[Events.EXCEPTION_RAISED]
        hearing.insert(0, hearing.pop())

    def _completed(self) -> None:
        self._leave(failed=False)

    def _terminated(self, engine: Any) -> None:
        if engine.should_terminate == "skip_completed":
            self._leave(failed=False)

    def _raised(self, engine: Any, error: BaseException) -> None:
        """End the runs, and let the exception go where it would have gone without this handler.

        Where nobody hears of an exception, Ignite raises it, else it leaves that to those who do.
        If somebody else does, he may well swallow one that comes up inside an epoch, and the
        training goes on; if he raises it, Ignite asks once more.
        """
        heard = [handler for handler, _, _ in engine._event_handlers[Events.EXCEPTION_RAISED]]
        alone = all(isinstance(getattr(each, "__self__", None), LRTrack) for each in heard)
        if alone or self._seen == id(error) or not isinstance(error, Exception):
            self._leave(failed=True)
        self._seen = id(error)
        if alone and heard[-1] == self._raised:
            raise error

    def _leave(self, failed: bool) -> None:
        for name, blocks in reversed(self._blocks.items()):
            for run in blocks.runs:
                blocks.leave(failed)
                self._last[name] = run
        engine, end = self._engine, Events.EXCEPTION_RAISED
        ours = {Events.TERMINATE: self._terminated, Events.COMPLETED: self._completed}
        for event, handler in {**ours, end: self._raised}.items():
            if engine is not None and engine.has_event_handler(handler, event):
                engine.remove_event_handler(handler, event)
                if not engine._event_handlers[event]:
                    del engine._event_handlers[event]  # an empty list swallows exceptions

    def _detach(self, failed: bool) -> None:
        self._leave(failed)
        engine, self._engine = self._engine, None
        if engine is not None and engine.has_event_handler(self._started, Events.STARTED):
            engine.remove_event_handler(self._started, Events.STARTED)


class _Output(_loggers.BaseOutputHandler):  # type: ignore[misc]
    def __call__(self, engine: Any, logger: LRTrack, event_name: Any) -> None:
        logger.log(self._setup_output_metrics_state_attrs(engine, key_tuple=False))


def _by_name(scheduler: Any, optimizers: Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(scheduler, Mapping):
        if strange := set(scheduler) - set(optimizers):
            raise UsageError(unknown("optimizer", str(min(strange)), optimizers))
        return scheduler
    if scheduler is not None and list(optimizers) != [""]:
        raise TypeError("several optimizers need their schedulers in a mapping with the same names")
    return {"": scheduler}


def _joined(options: Options) -> set[str | None]:
    """Ids of the runs of the user's that would be joined."""
    targets = [tracker.target(None, "") for tracker in trackers(options, read())]
    return {target.run_id for target in targets if target.joined}


def _state(last: TrackedRun | Mapping[str, Any]) -> dict[str, Any]:
    return {"id": last.id, "step": last.step} if isinstance(last, TrackedRun) else dict(last)


def _is_state(state: Any) -> bool:
    return isinstance(state, Mapping) and {"id", "step"} <= set(state)


def _for_track(scheduler: Any) -> Any:
    """A scheduler as `track()` takes it: nothing calls `step()` of those that Ignite moves."""
    if isinstance(scheduler, _schedulers.ReduceLROnPlateauScheduler):
        return scheduler.scheduler
    ours = (_schedulers.BaseParamScheduler, _schedulers.ParamGroupScheduler)
    return describe(scheduler) if isinstance(scheduler, ours) else scheduler


def _cycled(name: str, factor: str) -> Callable[[Any], Any]:
    """Reads a value that is multiplied in place after each cycle, as it was in the first."""

    def read(scheduler: Any) -> Any:
        value, cycles = getattr(scheduler, name), scheduler.cycle
        # The start is multiplied before the warm-up that ends a cycle, the rest after it.
        cycles += name == "start_value" and scheduler.event_index > scheduler.cycle_size
        found = float(f"{value / getattr(scheduler, factor) ** cycles:.12g}")
        return round(found) if isinstance(value, int) else found

    return read


# Around CosineAnnealingWarmRestarts there is one wrapper more.
OPENERS[_schedulers.LRScheduler] = lambda s: getattr(
    s.lr_scheduler, "_lr_scheduler", s.lr_scheduler
)
READERS[_schedulers.BaseParamScheduler] = {}
READERS[_schedulers.ParamGroupScheduler] = {}
READERS[_schedulers.PiecewiseLinear] = {
    "milestones_values": lambda s: [list(pair) for pair in zip(s.milestones, s.values, strict=True)]
}
READERS[_schedulers.CyclicalScheduler] = {
    "start_value": _cycled("start_value", "start_value_mult"),
    "end_value": _cycled("end_value", "end_value_mult"),
    "cycle_size": _cycled("cycle_size", "cycle_mult"),
    "warmup_duration": _cycled("warmup_duration", "cycle_mult"),
}
