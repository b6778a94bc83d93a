"""Protecting the user's own step numbers in an open W&B run that lrtrack joins.

W&B numbers the rows of a run with one counter: a row without `step=` takes the next number, and a
row with a `step=` below the counter is dropped. Rows of lrtrack take numbers as well. That is
harmless if the user lets W&B count, but would lose the data of a user who passes `step=`. So
nothing is uploaded until the user's first row shows which of the two it is. If the user passes
`step=`, nothing is uploaded until they finish the run, after their last row.
"""

from __future__ import annotations

import atexit
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lrtrack.errors import warn
from lrtrack.journal.gate import Gate

#: Seconds without any row of the user, after which lrtrack assumes that they log none.
PATIENCE = 60.0


class OpenRunGuard:
    """Watches the rows that the user logs while lrtrack has joined their run.

    Args:
        run: the run that the user has open.
        gate: a file; as long as it exists, nothing is uploaded to this run.
        deliver: uploads what is recorded so far, and waits for it up to a limit.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        run: Any,
        gate: Path,
        deliver: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._gate = Gate(gate)
        self._deliver = deliver
        self._clock = clock
        self._begun = clock()
        self._explicit = False
        self._log: Any = getattr(run, "_log", None)

    def enter(self) -> None:
        """Start to watch; uploads wait until the user's way of counting is known."""
        if self._log is None or not self._hook():
            return  # another version of W&B: upload, since the rows cannot be watched
        self._hold()
        self._run._log = self._watched

    def tick(self) -> None:
        """Let uploads start if the user has logged nothing for `PATIENCE` seconds."""
        if not self._explicit and self._clock() - self._begun > PATIENCE:
            self._gate.open()

    def leave(self) -> bool:
        """Stop watching at the end of the block; return whether uploads may continue."""
        getattr(self._run, "__dict__", {}).pop("_log", None)
        if self._explicit:  # runs before W&B's own exit hook, if nobody calls finish()
            atexit.register(self._finishing)
        else:
            self._gate.open()
        return not self._explicit

    def _watched(self, data: Any, step: int | None = None, commit: bool | None = None) -> None:
        if step is None and not self._explicit:
            self._gate.open()
        elif step is not None and not self._explicit:
            self._explicit = True
            if not self._gate.is_closed:
                self._hold()
                self._warn_of_taken_steps()
        self._log(data, step, commit)

    def _hold(self) -> None:
        with contextlib.suppress(OSError):  # without room for the file, rows are uploaded at once
            self._gate.close()

    def _warn_of_taken_steps(self) -> None:
        warn(
            "wandb.log(step=…) was called when rows of lrtrack had taken step numbers already, and "
            "W&B drops rows below its counter. Fix: log once before the block or early in it, or "
            "give your metrics their own step metric with run.define_metric()."
        )

    def _hook(self) -> bool:
        """Register a hook that runs when the run finishes, while W&B still accepts rows."""
        try:
            from wandb.sdk.wandb_run import TeardownHook, TeardownStage

            self._run._teardown_hooks.append(TeardownHook(self._finishing, TeardownStage.EARLY))
        except (ImportError, AttributeError):
            return False
        return True

    def _finishing(self) -> None:
        atexit.unregister(self._finishing)
        getattr(self._run, "__dict__", {}).pop("_log", None)
        try:
            self._log({}, None, True)  # complete the user's last row before lrtrack's rows
            self._gate.open()
            self._deliver()
        except Exception as error:  # a failure here must not break the user's wandb.finish()
            warn(f"lrtrack could not upload to the W&B run when it finished: {error!r}")
