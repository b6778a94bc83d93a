"""Writing one run: event files are only appended to, so each value must be written once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lrtrack.trackers import Remote, Rewind, Run, State, StepRecord, Target, TrackerError
from lrtrack_tensorboard import events, returns, table
from lrtrack_tensorboard.writer import Writer


class TensorBoardSink:
    """One run's folder; `lrtrack.trackers.Sink` documents the methods."""

    durable = True  # `write` returns when the file is flushed, so killing the shipper loses nothing

    def __init__(self, run: Run, target: Target, name: str) -> None:
        self._run, self._target, self._name = run, target, name
        self._folder = Path(target.uri or "runs", name)
        self._writer = Writer(self._folder)
        self._stored: set[tuple[str, int]] | None = None  # from before this run was continued

    def open(self) -> Remote:
        points, notes = events.read(self._folder)
        if self._target.continued and not notes:
            raise TrackerError(f"there is no run {self._name!r} in {self._target.uri}")
        if self._stored is None:
            self._stored = {point[:2] for point in points} if self._target.continued else set()
        self._writer.note(state=State.RUNNING, **({} if notes else {"run": self._run.to_dict()}))
        return Remote(self._name, fresh=not notes)

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        written = {point[:3] for point in events.read(self._folder).points} if doubt else set()
        for record in records:
            for name, value in record.metrics.items():
                point = (name, record.step, repr(float(value)))  # as text, NaN equals NaN
                if point not in written and point[:2] not in (self._stored or ()):
                    self._writer.scalar(name, value, record.step, record.time)
        self._writer.flush()

    def rewind(self, rewind: Rewind) -> float:
        """Note which points `events.read` leaves out: event files keep them all."""
        run, begun = returns.rewound(events.read(self._folder), self._run, rewind)
        self._writer.note(run=run.to_dict())
        self._stored = {key for key in self._stored or () if key[1] < rewind.step}
        return begun

    def upload(self, history: Path) -> None:
        if self._target.continued:
            table.write(events.read(self._folder).points, history)
        table.store(history, self._folder)

    def complete(self, run: Run) -> None:
        self._writer.note(run=returns.with_noted(run, events.read(self._folder)).to_dict())

    def close(self, state: State, ended: float, summary: Mapping[str, float]) -> None:
        self._writer.note(state=state, ended=ended, summary=dict(summary))
        self._writer.close()

    def release(self) -> None:
        self._writer.close()
