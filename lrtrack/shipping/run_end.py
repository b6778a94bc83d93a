"""Ends a delivered run in its tracker.

The end itself must arrive: state, `loss_final`, `loss_best`. Everything else (the columnar file,
the diagnoses) is stored if the tracker takes it. An artifact store that refuses, has no driver
installed or is down must not leave a run RUNNING in a tracker that answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lrtrack.errors import PartRefused, PartUnavailable, SinkLost, TrackerError, TrackerUnavailable
from lrtrack.journal import history_table
from lrtrack.journal.layout import Layout
from lrtrack.journal.parquet_guard import MAX_VALUES
from lrtrack.journal.reader import JournalReader
from lrtrack.records import TRAIN, State
from lrtrack.redaction import redact
from lrtrack.shipping import temporary
from lrtrack.shipping.run_records import RunRecords, records_of
from lrtrack.trackers.base import Sink
from lrtrack.trackers.hooks import CompletesRuns

#: Attempts at a part that a tracker may take later; by then the run itself is ended.
ATTEMPTS = 3
#: Bytes of a journal above which it is not read as a whole, nor stored as one file, which a report
#: would refuse; and how many metrics are read of it.
LARGEST, MOST = 8 * MAX_VALUES, 64
#: The name of the columnar file in messages.
_FILE = f"{history_table.FOLDER}/{history_table.NAME}"


@dataclass(frozen=True)
class _Failure:
    """One part that the tracker did not take.

    Attributes:
        part: its name.
        reason: why, without credentials.
        later: another attempt may succeed.
        retry_after: seconds after which the tracker wants to be asked again, if it said so.
    """

    part: str
    reason: str
    later: bool
    retry_after: float | None = None


class RunEnd:
    """Stores what the end of one run needs.

    Args:
        reader: the run's journal, which is complete.
        layout: the journal directory, where temporary files go.
    """

    def __init__(self, reader: JournalReader, layout: Layout) -> None:
        self._reader = reader
        self._layout = layout
        self._attempts = 0
        self._failures: list[_Failure] = []

    def store(self, sink: Sink, first: int = 0) -> str | None:
        """Ends the run, with every part that the tracker takes.

        Args:
            sink: the run in the tracker.
            first: the step of the tracker's run that is the block's step 0.

        Returns:
            Which part is missing, why, and the fix; None if nothing is missing.

        Raises:
            PartUnavailable: the run is ended, and a part is worth another attempt.
            TrackerUnavailable, TrackerError: the run could not be ended.
        """
        self._failures = []
        is_large = self._reader.size() > LARGEST
        records = records_of(self._reader, MOST if is_large else None)
        run, end = records.completed(self._reader.run), records.course.ending
        if end is None:  # the training process was killed
            last = records.last_time()
            state, ended = State.FAILED, run.started if last is None else last
            run = replace(run, diagnoses=records.shown(run))
        else:
            state, ended = end.state, end.time
        if is_large:
            reason = f"the run has more than {LARGEST:,} bytes of values, too many for one file"
            self._failures.append(_Failure(_FILE, reason, later=False))
            summary = records.losses(None, first, run.prefix)
        else:
            summary = self._upload(sink, records, first, run.prefix)
        known = self._reader.run
        news = (run.schedule, run.total_steps) != (known.schedule, known.total_steps)
        tells = news or (bool(run.diagnoses) if end is None else end.tells)
        if tells and isinstance(sink, CompletesRuns):
            self._attempt("the diagnoses", lambda: sink.complete(run))
        # The losses of a range test are not the result of a training.
        metrics = summary if run.kind == TRAIN else {}
        self._attempt(None, lambda: sink.close(state, ended, metrics))
        return self._outcome(retry=sink.durable)

    def _upload(self, sink: Sink, records: RunRecords, first: int, prefix: str) -> dict[str, float]:
        """Stores the columnar file, which the sink may complete by earlier steps; returns the
        run's losses.
        """
        try:
            with temporary.folder(self._layout) as folder:
                path = folder / history_table.NAME
                if not records.write(path, first):
                    return {}
                self._attempt(_FILE, lambda: sink.upload(path))
                return records.losses(path, first, prefix)
        except (OSError, ValueError) as error:  # no room for temporary files
            reason = f"temporary files cannot be written ({error})"
            self._failures.append(_Failure(_FILE, reason, later=True))
            return records.losses(None, first, prefix)

    def _attempt(self, part: str | None, store: Callable[[], None]) -> None:
        """Stores one part of the run; None means its end, which must succeed."""
        try:
            store()
        except SinkLost:
            raise
        except PartRefused as error:
            self._failures.append(_Failure(error.part, str(error), later=False))
        except PartUnavailable as error:
            self._failures.append(_Failure("the outcome", str(error), True, error.retry_after))
        except Exception as error:
            if part is None:
                raise
            # Packages of artifact stores raise errors of their own.
            reason = str(error) if isinstance(error, TrackerError) else redact(repr(error))
            later = isinstance(error, TrackerUnavailable) or not isinstance(error, TrackerError)
            pause = getattr(error, "retry_after", None)
            if later and pause and self._attempts < ATTEMPTS - 1:
                self._attempts += 1
                raise  # a server that asks for a pause gets no request before its end
            self._failures.append(_Failure(part, reason, later, pause))

    def _outcome(self, retry: bool) -> str | None:
        if not self._failures:
            return None
        self._attempts += 1
        reasons: dict[str, list[str]] = {}
        for failure in self._failures:
            reasons.setdefault(failure.reason, []).append(failure.part)
        text = "; ".join(f"{' and '.join(parts)} ({why})" for why, parts in reasons.items())
        if retry and self._attempts < ATTEMPTS and any(each.later for each in self._failures):
            pauses = [each.retry_after for each in self._failures if each.retry_after]
            raise PartUnavailable(f"cannot store {text} yet", max(pauses, default=None))
        self._attempts = 0
        return text
