"""The runs that a framework's callback opens and closes for its user."""

from __future__ import annotations

import atexit
import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from typing import Any

from lrtrack.capture.accumulation import Weight
from lrtrack.capture.step_capture import StepCapture
from lrtrack.capture.thread_state import current_notes
from lrtrack.errors import LRTrackError, UsageError, warn
from lrtrack.integrations._callback_options import options_of
from lrtrack.settings import read
from lrtrack.trackers import registry
from lrtrack.trackers.base import DEFAULT_EXPERIMENT, Tracker
from lrtrack.tracking import TrackedRun, arguments, track
from lrtrack.tracking.context import Block
from lrtrack.tracking.options import as_mapping, check_values, trackers

#: Frameworks write numbers of steps above this where a training has no end.
_MOST_STEPS = 2**53
#: Longer settings, in characters, are data that a framework keeps beside its settings.
_LONGEST_SETTING = 2**16


def whole_steps(value: Any) -> int | None:
    """The number of steps that a framework expects, for `total_steps`.

    Args:
        value: what the framework says; it may be infinite, negative or `sys.maxsize`.

    Returns:
        None where the value stands for an unknown number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if 1 <= value < _MOST_STEPS else None


def distinct_prefixes(names: Iterable[str]) -> list[str]:
    """Turn names into metric prefixes; of equal names, all but the first are numbered.

    As in Lightning's LearningRateMonitor: `Adam/`, `Adam-1/`.
    """
    seen: Counter[str] = Counter()
    prefixes = []
    for name in names:
        prefixes.append(f"{name}-{seen[name]}/" if seen[name] else f"{name}/")
        seen[name] += 1
    return prefixes


def open_runs(trackers: Iterable[Tracker]) -> set[str | None]:
    """Ids of the runs of the user's that a block would join."""
    targets = [tracker.target(None, DEFAULT_EXPERIMENT) for tracker in trackers]
    return {target.run_id for target in targets if target.joined}


def _storable(callback: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A framework's settings without those that no run can hold: they must not stop a training."""
    kept = {}
    for name, value in settings.items():
        reason = "it is longer than 64 KiB"
        try:
            if len(json.dumps(arguments.config({name: value}))) <= _LONGEST_SETTING:
                kept[name] = value
                continue
        except UsageError as error:
            reason = str(error).rstrip(".")
        warn(
            f"{callback}: the run's config lacks {str(name)[:80]!r}, because {reason}. Fix: pass "
            "what matters of it in the option config."
        )
    return kept


class CallbackRuns:
    """The runs of one training, which begin together and end together however it ends.

    A framework may leave its loop by an exception that its callbacks are not told about. Then the
    runs end, as FAILED, when the same callback begins again or when the program ends.

    Attributes:
        runs: the open runs, in the order of their optimizers.

    Args:
        callback: the callback's name, for messages.
        options: the user's options, as for `track()`.

    Raises:
        TypeError: an option does not exist.
        UsageError: an option has an invalid value.
    """

    def __init__(self, callback: str, options: Mapping[str, Any]) -> None:
        self._checked = checked = options_of(callback, options)
        self._given = dict(options)
        if options.get("tracker") is not None:
            registry.resolve(options["tracker"])
        check_values(checked)
        self.runs: list[TrackedRun] = []
        self._callback = callback
        self._blocks: list[Block] = []
        # None means the same as an option that is not given, except where it is a choice.
        self._options = {
            name: value
            for name, value in options.items()
            if value is not None or name == "loss_over"
        }
        self._stack = ExitStack()

    @property
    def resumes(self) -> bool:
        """Whether the user names a run to resume, whose steps before are not in this training."""
        return self._options.get("resume") is not None

    def copy(self) -> CallbackRuns:
        """The same options without a run."""
        return CallbackRuns(self._callback, self._given)

    def __reduce__(self) -> tuple[Any, ...]:
        return CallbackRuns, (self._callback, self._given)

    def __deepcopy__(self, memo: Any) -> CallbackRuns:
        return self.copy()  # trackers and functions among the options are the user's own

    def enter(
        self,
        pairs: Iterable[tuple[Any, Any, str]],
        resume: Sequence[str | None] = (),
        **defaults: Any,
    ) -> list[TrackedRun]:
        """Open a run for each optimizer.

        Args:
            pairs: optimizer, its scheduler or None, and the prefix of its metrics, which follows
                the user's own prefix.
            resume: for each optimizer the id of the run to resume, or None; empty: none.
            **defaults: options that the framework knows. The user's options replace them, in
                `config` key by key.

        Returns:
            The open runs; none, with a warning, after an error that is not the user's mistake.

        Raises:
            TypeError, LRTrackError: as `track()` raises them.
        """
        self.leave(failed=True)
        options = {**defaults, **self._options}
        if "config" in defaults:
            own = as_mapping(self._options.get("config"))
            options["config"] = {**_storable(self._callback, defaults["config"]), **own}
        user_prefix = options.pop("prefix", "")
        try:
            blocks = [
                track(
                    optimizer,
                    scheduler,
                    prefix=user_prefix + prefix,
                    **{"resume": run_id, **options},
                )
                for (optimizer, scheduler, prefix), run_id in zip_longest(pairs, resume)
            ]
            with ExitStack() as stack:
                opened = [stack.enter_context(block) for block in blocks]
                self._stack, self.runs, self._blocks = stack.pop_all(), opened, blocks
        except (LRTrackError, TypeError):
            raise
        except Exception as error:
            warn(f"{self._callback} does not observe this training, which continues: {error!r}.")
        atexit.register(self._at_exit)
        return self.runs

    def enter_again(
        self,
        pair: tuple[Any, Any, str],
        last: TrackedRun | None,
        steps: int | None,
        **defaults: Any,
    ) -> TrackedRun | None:
        """Open one run, which continues the last one unless the user has opened another since.

        Args:
            pair: as for `enter`.
            last: the run to continue; None: a new one.
            steps: how many steps this part of the training makes; None: unknown.
            **defaults: as for `enter`.

        Returns:
            The open run; None, with a warning, after an error that is not the user's mistake.

        Raises:
            TypeError, LRTrackError: as `track()` raises them.
        """
        resume = [] if last is None else self.earlier(last.id)
        made = 0 if last is None or not resume else last.step + 1
        total = None if steps is None else whole_steps(made + steps)
        if self.resumes and not resume:  # how many steps there were before is open
            total = None
        run = next(iter(self.enter([pair], resume, total_steps=total, **defaults)), None)
        if run is not None and last is not None and resume:
            run.load_state_dict({"step": last.step})
        return run

    def earlier(self, run_id: str | None) -> list[str]:
        """An earlier run as `enter` takes it in `resume`.

        Args:
            run_id: its id; None: there is none.

        Returns:
            The id alone; nothing if the user has opened another run since.
        """
        if run_id is None:
            return []
        return [run_id] if open_runs(trackers(self._checked, read())) <= {run_id} else []

    def accumulate(self, accumulates: bool) -> None:
        """Set whether a closure's loss is added to those of the `backward()` calls before it."""
        for block in self._blocks:
            if block.recording is not None:
                block.recording.capture.accumulates = accumulates

    def weight_losses(self, weight: Weight) -> None:
        """Set the factor of a loss by its number of backward calls, instead of `loss_count`."""
        for block in self._blocks:
            if block.recording is not None:
                block.recording.capture.counts.weight = weight

    def skip_step(self, by_scaler: bool) -> None:
        """Note that a step of the only optimizer was skipped, and that its gradients are dropped.

        Args:
            by_scaler: whether a gradient scaler has found infinite gradients.
        """
        for block in self._blocks:
            capture = block.recording and block.recording.capture
            if isinstance(capture, StepCapture):
                capture.skips += by_scaler
                current_notes().end_step(capture.optimizer)

    def reschedule(self, at: int, scheduler: Any) -> None:
        """Note that a scheduler moves the rate of the optimizer number `at` from now on."""
        recording = self._blocks[at].recording
        if recording is not None:
            recording.succession.follow(scheduler)

    def discard(self) -> None:
        """Drop the open runs, which have no steps, before others take their place."""
        for block in self._blocks:
            block.discard()
        self.leave(failed=True)

    def leave(self, failed: bool = False) -> None:
        """End the open runs, as FINISHED or FAILED. Idempotent."""
        error = sys.exception() or RuntimeError("the training was not completed")
        self._end(error if failed else None)

    def _end(self, error: BaseException | None) -> None:
        blocks, self.runs, self._blocks = self._blocks, [], []
        try:
            self._stack.__exit__(type(error) if error else None, error, None)
        finally:
            for block in blocks:
                block.release(failed=True)  # those whose exit was interrupted
        atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        # Python keeps the exception that ended the program: after Ctrl-C the wait is short.
        self._end(getattr(sys, "last_value", None) or RuntimeError("the program ended"))
