"""PyTorch Ignite: a handler to attach to a trainer, which records the trainer's optimizer.

    LRTrack(optimizer, scheduler).attach(trainer)
    trainer.run(loader, max_epochs=10)

The scheduler may be torch's or Ignite's own: `CosineAnnealingScheduler`, `PiecewiseLinear`,
`create_lr_scheduler_with_warmup(…)`, `LRScheduler(…)`, …; attach it to the trainer as usual.
`lrtrack.describe()` can read Ignite's schedulers once this module is imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

from lrtrack._optional import load
from lrtrack.errors import UsageError, unknown, warn
from lrtrack.integrations._callback_options import options_of
from lrtrack.integrations._callback_runs import CallbackRuns, whole_steps
from lrtrack.integrations._ignite_finder import leave_out_searches, searches
from lrtrack.integrations._ignite_schedulers import for_track
from lrtrack.integrations._wrapping import wrap_once
from lrtrack.tracking import TrackedRun
from lrtrack.tracking.options import check, check_ownership

_PACKAGE = {"extra": "ignite", "package": "pytorch-ignite", "at_least": "0.5.2"}
_engine: Any = load("ignite.engine", **_PACKAGE)
_loggers: Any = load("ignite.handlers.base_logger", **_PACKAGE)
_finder: Any = load("ignite.handlers.lr_finder", **_PACKAGE)

Engine, Events = _engine.Engine, _engine.Events


class LRTrack:
    """Records learning rate, gradient norms and loss at each optimizer step of a trainer.

    A run begins and ends with the engine's run: as FINISHED, also after `terminate()`, or as
    FAILED after an exception. An interrupted engine keeps its run open until it resumes. An engine
    that resumes after its end (`engine.state.iteration` is not 0) continues the same run. For that
    in a new process, use `Checkpoint`: `to_save={"lrtrack": handler, …}`, and
    `Checkpoint.load_objects` before `trainer.run`. It always runs last in COMPLETED. The search
    of a `FastaiLRFinder` is no training: it leaves no run, and no step in an open one, for which
    making an `LRTrack` wraps `FastaiLRFinder.attach`.

    Args:
        optimizer: the trainer's optimizer, or several by name, as for Ignite's loggers; then the
            name and a slash are the prefix of each one's metrics.
        scheduler: torch's or Ignite's own, or several by their optimizers' names; None means a
            constant schedule.
        **options: as for `lrtrack.track()`.

    Raises:
        TypeError: the optimizer or scheduler is not one, or an option does not exist.
        UsageError: an option has an invalid value, or the scheduler belongs to another optimizer.
    """

    def __init__(self, optimizer: Any, scheduler: Any = None, **options: Any) -> None:
        wrap_once(_finder.FastaiLRFinder, "attach", leave_out_searches)
        self._optimizers = dict(optimizer) if isinstance(optimizer, Mapping) else {"": optimizer}
        schedulers = _by_name(scheduler, self._optimizers)
        self._schedulers = {name: for_track(schedulers.get(name)) for name in self._optimizers}
        self._runs_by_name = {name: CallbackRuns("LRTrack", options) for name in self._optimizers}
        self._options = options_of("LRTrack", options)
        for name, one_optimizer in self._optimizers.items():
            check_ownership(one_optimizer, schedulers.get(name))
            check(replace(self._options, optimizer=one_optimizer, scheduler=self._schedulers[name]))
        #: The last run of each optimizer, or its state from a checkpoint.
        self._last: dict[str, TrackedRun | Mapping[str, Any]] = {}
        self._loaded = False
        self._engine: Any = None
        self._last_error: int | None = None
        self._warned = False

    @property
    def runs(self) -> list[TrackedRun]:
        """The open runs, in the order of the optimizers; none before and after the training."""
        return [run for blocks in self._runs_by_name.values() for run in blocks.runs]

    @property
    def run(self) -> TrackedRun | None:
        """The open run, the first of several; None before and after the training."""
        return next(iter(self.runs), None)

    def attach(self, engine: Any) -> Self:
        """Record the runs of the trainer `engine`; in a `with` statement, until its end.

        Raises:
            TypeError, RuntimeError: it is not an engine; this object is attached already.
        """
        if not isinstance(engine, Engine):
            raise TypeError(f"attach() expects an Ignite engine, got {type(engine).__name__}.")
        if self._engine is not None:
            raise RuntimeError(
                "This LRTrack is attached already. Fix: detach() it or create another."
            )
        self._engine = engine
        engine.add_event_handler(Events.STARTED, self._started)
        return self

    def detach(self) -> None:
        """Stop recording the engine; an open run ends as FINISHED. Idempotent."""
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

        As in Ignite's own loggers; the handle that it returns detaches the handler by `remove()`.

        Args:
            engine, event_name: the evaluator, and the event at which to log.
            tag: put before each name with a slash: `validation/accuracy`.
            metric_names: a list, or `"all"`, which is the default if nothing else is selected.
            output_transform, state_attributes: as in Ignite's own loggers.
        """
        if metric_names is None and output_transform is None and state_attributes is None:
            metric_names = "all"
        handler = _Output(tag, metric_names, output_transform, state_attributes=state_attributes)
        return engine.add_event_handler(event_name, handler, self, event_name)

    def state_dict(self) -> dict[str, Any]:
        """The runs' ids and numbers of steps, for checkpoints."""
        states = {name: _state(last) for name, last in self._last.items()}
        for name, blocks in self._runs_by_name.items():
            for run in blocks.runs:
                states[name] = run.state_dict()
        return {"runs": states}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Resume the runs of a checkpoint, at its steps.

        Raises:
            TypeError, ValueError: it is not a result of `state_dict()`.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict should be a mapping, got {type(state_dict).__name__}.")
        runs = state_dict.get("runs")
        if not isinstance(runs, Mapping) or not all(map(_is_state, runs.values())):
            raise ValueError("This is no state of LRTrack: it lacks 'runs' with 'id' and 'step'.")
        if unknown_names := set(runs) - set(self._runs_by_name):
            raise ValueError(unknown("optimizer", min(unknown_names), self._runs_by_name))
        self._last, self._loaded = dict(runs), True
        for name, state in runs.items():
            for run in self._runs_by_name[name].runs:
                run.load_state_dict(state)

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Record `metrics` at the step just done, in all open runs; see `TrackedRun.log`."""
        for run in self.runs:
            run.log(metrics)
        if not self.runs and metrics and not self._warned:
            self._warned = True
            warn(
                f"lrtrack has no open run for {', '.join(metrics)}. Fix: run the evaluator while "
                "the trainer runs, at the latest in its COMPLETED event."
            )

    def _started(self, engine: Any) -> None:
        self._leave(failed=True)
        if searches(engine, Events.STARTED):
            return
        resumes = self._loaded or engine.state.iteration > 0
        states = {name: _state(last) for name, last in self._last.items() if resumes}
        self._last, self._loaded, self._last_error = {}, False, None
        try:
            for name, blocks in self._runs_by_name.items():
                prefix = f"{name}/" if name else ""
                state = states.get(name)
                resume = blocks.earlier(state["id"]) if state else []
                pair = (self._optimizers[name], self._schedulers[name], prefix)
                for run in blocks.enter([pair], resume, total_steps=_total(engine, state)):
                    if state is not None:
                        run.load_state_dict(state)
        except BaseException:
            self._leave(failed=True)
            raise
        engine.add_event_handler(Events.TERMINATE, self._terminated)
        engine.add_event_handler(Events.COMPLETED, self._completed)
        # Must come first, as other handlers may raise; see `_raised`.
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._raised)
        handlers = engine._event_handlers[Events.EXCEPTION_RAISED]
        handlers.insert(0, handlers.pop())

    def _completed(self) -> None:
        self._leave(failed=False)

    def _terminated(self, engine: Any) -> None:
        if engine.should_terminate == "skip_completed":
            self._leave(failed=False)

    def _raised(self, engine: Any, error: BaseException) -> None:
        """End the runs, and let the exception take the way it would take without this handler.

        Ignite raises an exception itself only if it has no handler. Another handler may swallow it
        inside an epoch, so that training continues; if it raises it, Ignite calls all once more.
        """
        handlers = [handler for handler, _, _ in engine._event_handlers[Events.EXCEPTION_RAISED]]
        alone = all(isinstance(getattr(h, "__self__", None), LRTrack) for h in handlers)
        if alone or self._last_error == id(error) or not isinstance(error, Exception):
            self._leave(failed=True)
        self._last_error = id(error)
        if alone and handlers[-1] == self._raised:
            raise error

    def _leave(self, failed: bool) -> None:
        for name, blocks in reversed(self._runs_by_name.items()):
            for run in blocks.runs:
                blocks.leave(failed)
                self._last[name] = run
        engine = self._engine
        handlers = {Events.TERMINATE: self._terminated, Events.COMPLETED: self._completed}
        handlers[Events.EXCEPTION_RAISED] = self._raised
        for event, handler in handlers.items():
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
        if unknown_names := set(scheduler) - set(optimizers):
            raise UsageError(unknown("optimizer", str(min(unknown_names)), optimizers))
        return scheduler
    if scheduler is not None and list(optimizers) != [""]:
        raise TypeError("Several schedulers need names. Fix: pass a mapping with the same names.")
    return {"": scheduler}


def _total(engine: Any, state: Mapping[str, Any] | None) -> int | None:
    """How many steps a run will have, with those before if it continues from `state`.

    None for a process function that Ignite did not make: only it knows how often it steps.
    """
    process = engine._process_function
    if not getattr(process, "__module__", "").startswith("ignite."):
        return None
    every = inspect.getclosurevars(process).nonlocals.get("gradient_accumulation_steps", 1)
    try:
        iterations = engine.state.max_epochs * engine.state.epoch_length
        made = 0 if state is not None else engine.state.iteration // every
        return whole_steps(iterations // every - made)
    except TypeError:  # without a length, or without an end
        return None


def _state(last: TrackedRun | Mapping[str, Any]) -> dict[str, Any]:
    return {"id": last.id, "step": last.step} if isinstance(last, TrackedRun) else dict(last)


def _is_state(state: Any) -> bool:
    return isinstance(state, Mapping) and {"id", "step"} <= set(state)
