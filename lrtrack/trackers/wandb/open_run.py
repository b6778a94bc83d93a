"""Keeping the step counter of a user's own W&B run as he wants it.

W&B numbers a run's rows with one counter: a row without `step=` takes the next number, and a row
with a `step=` below the counter is dropped. Rows of lrtrack take numbers, too. That is right for a
user who lets W&B count, and would cost one who passes `step=` himself his data. So nothing is
written until it is known which of the two he is; to the latter's run nothing is written until he
finishes it, after his last row.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lrtrack.errors import warn

#: Seconds without any row of the user's own, after which he is taken to log none.
PATIENCE = 60.0


class Guard:
    """Watches the user's own rows while his run is joined.

    Args:
        run: the run that the user has open.
        gate: the file whose presence keeps deliveries to this run back.
        deliver: brings to the run whatever is recorded by now, waiting for it a while.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        run: Any,
        gate: Path,
        deliver: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._gate = gate
        self._deliver = deliver
        self._clock = clock
        self._begun = clock()
        self._explicit = False
        self._log: Any = getattr(run, "_log", None)

    def enter(self) -> None:
        """Begin to watch; deliveries wait until this is clear."""
        if self._log is None or not self._hook():
            return  # a W&B without these seams: deliver, as nothing can be known
        self._gate.write_text(str(os.getpid()))
        self._run._log = self._watched

    def tick(self) -> None:
        """Let deliveries begin where the user has logged nothing for long."""
        if not self._explicit and self._clock() - self._begun > PATIENCE:
            self._gate.unlink(missing_ok=True)

    def leave(self) -> bool:
        """End watching, with the block; whether deliveries may go on now."""
        getattr(self._run, "__dict__", {}).pop("_log", None)
        if self._explicit:  # before W&B's own exit hook, where nobody calls finish()
            atexit.register(self._finishing)
        else:
            self._gate.unlink(missing_ok=True)
        return not self._explicit

    def _watched(self, data: Any, step: int | None = None, commit: bool | None = None) -> None:
        if step is None and not self._explicit:
            self._gate.unlink(missing_ok=True)
        elif step is not None and not self._explicit:
            self._explicit = True
            if not self._gate.exists():
                self._gate.write_text(str(os.getpid()))
                self._say_it()
        self._log(data, step, commit)

    def _say_it(self) -> None:
        warn(
            "wandb.log(step=…) came when lrtrack's rows had taken W&B's step numbers already; W&B "
            "drops rows below its counter. Log once before or early in the block, or give your "
            "metrics an axis of their own with run.define_metric()."
        )

    def _hook(self) -> bool:
        """Be called when the run is being finished, before W&B takes no more rows."""
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
            self._log({}, None, True)  # his last row is whole before ours come
            self._gate.unlink(missing_ok=True)
            self._deliver()
        except Exception as error:  # the user's wandb.finish() goes on whatever happens here
            warn(f"lrtrack could not deliver to the W&B run at its end: {error!r}")
