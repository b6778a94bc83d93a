"""The runs of trackers that go on: read again and again, in a thread of their own."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from lrtrack.errors import LRTrackError, NothingFound
from lrtrack.records import History, State
from lrtrack.redaction import redact
from lrtrack.reports.live import LiveRun
from lrtrack.stats.diagnose import diagnoses_of
from lrtrack.watching.series import Series

#: Seconds between two requests, and the most of the time that they take.
PERIOD, _SHARE = 5.0, 0.2
#: The last records whose speed is the present one.
_LATELY = 200


class Trackers:
    """Asks trackers for running trainings, without keeping anyone waiting.

    Attributes:
        trouble: why the last request failed; empty if it did not.
        asked: set once a request was answered or refused.

    Args:
        read: reads the running trainings.
        period: seconds between two requests.
    """

    def __init__(self, read: Callable[[], Sequence[History]], period: float = PERIOD) -> None:
        self.trouble = ""
        self.asked = threading.Event()
        self._read = read
        self._period = period
        self._runs: list[LiveRun] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="lrtrack-watch", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Do not ask again; a request that is under way is not waited for."""
        self._over.set()

    def runs(self) -> list[LiveRun]:
        """What the last answer said."""
        return self._runs

    def _work(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                self._runs = [shown(history) for history in self._read()]
                self.trouble = ""
            except NothingFound:
                self._runs, self.trouble = [], ""
            except LRTrackError as error:
                self.trouble = redact(str(error))
            except Exception as error:  # packages of trackers raise errors of their own
                self.trouble = redact(repr(error))
            self.asked.set()
            took = time.monotonic() - began
            self._over.wait(max(self._period, took / _SHARE))


def shown(history: History) -> LiveRun:
    """A run as a tracker knows it."""
    run, steps = history.run, history.steps.astype(np.float64)
    series, latest = {}, {}
    for name, values in history.metrics.items():
        there = history.present[name]
        if there.any():
            one = Series()
            one.add(steps[there], values[there])
            short = name.removeprefix(run.prefix)
            series[short], latest[short] = one.points(), float(values[there][-1])
    return LiveRun(
        id=run.id,
        name=run.name,
        label=run.schedule.label,
        state=State(history.state),
        step=int(history.steps[-1]) if history.steps.size else -1,
        total_steps=run.total_steps,
        time=float(history.times[-1]) if history.steps.size else 0.0,
        steps_per_second=_speed(history),
        latest=latest,
        series=series,
        diagnoses=diagnoses_of(history),
        tracker=history.tracker,
    )


def _speed(history: History) -> float:
    steps, times = history.steps[-_LATELY:], history.times[-_LATELY:]
    if steps.size < 2 or not times[-1] > times[0]:
        return math.nan
    return float((steps[-1] - steps[0]) / (times[-1] - times[0]))
