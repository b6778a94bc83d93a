"""A trial of Ray Tune, in its worker."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from torch.optim.optimizer import register_optimizer_step_pre_hook

from lrtrack._optional import load
from lrtrack.integrations._ray_driver import GRACE, options_of, tune_context
from lrtrack.schedules.catalogue import KINDS
from lrtrack.tracking import TrackedRun

tune: Any = load("ray.tune", extra="ray", at_least="2.43")


@dataclass
class Trial:
    """A trial, in its Ray worker."""

    config: Mapping[str, Any]
    options: Mapping[str, Any]
    runs: list[TrackedRun] = field(default_factory=list)
    checkpointed: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    _stop: Any = None
    _ended: threading.Event = field(default_factory=threading.Event)

    @functools.cached_property
    def context(self) -> Any:
        """The context of Ray Tune; None in a worker of Ray Train."""
        return tune_context()

    def track_options(self) -> dict[str, Any]:
        """The options of `lrtrack.track()` that Ray knows, updated with the user's."""
        items = self.config.items()
        config = {key: value for key, value in items if not _is_schedule_key(key, value)}
        seed = config.pop("seed", None)
        options: dict[str, Any] = {"config": config}
        if isinstance(seed, int):
            options["seed"] = seed
        if self.context is not None:
            options |= options_of(self.context)
        return {**options, **self.options}

    def state(self) -> dict[str, Any]:
        """The state that a checkpoint holds."""
        states = {name: item.state_dict() for name, item in self.checkpointed.items()}
        return {"runs": [run.state_dict() for run in self.runs], "kept": states}

    def report(self, **options: Any) -> None:
        """Report the metrics.

        Where Ray stops the trial, this returns: its next optimizer step or report raises instead.
        A trial that has no next step is complete, as those are that a scheduler lets train to its
        `max_t`.
        """
        try:
            tune.report(self.metrics, **options)
        except SystemExit:
            self._stop = register_optimizer_step_pre_hook(_exit)

    def exit_if_stopped(self) -> None:
        """Exit as Ray does, if it has stopped the trial."""
        if self._stop is not None:
            _exit()

    def wait_if_stopped(self) -> None:
        """Let a stopped trial end its run, before the process of its thread ends."""
        if self._stop is not None:
            self._ended.wait(GRACE)

    def end(self) -> None:
        """Forget the trial, whose function has returned."""
        if self._stop is not None:
            self._stop.remove()
        self._ended.set()


def _exit(*_: Any) -> NoReturn:
    raise SystemExit(0)


def _is_schedule_key(key: str, value: Any) -> bool:
    """Whether a key of a trial's config only describes its schedule."""
    kind = key if key in KINDS else key.rpartition("_")[0]  # named by `group_of`
    return key == "schedule" or (isinstance(value, Mapping) and kind in KINDS)
