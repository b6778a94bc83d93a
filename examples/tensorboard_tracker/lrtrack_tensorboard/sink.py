"""Writing one run: event files are only appended to, so each value must be written once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lrtrack.trackers import Remote, Run, State, StepRecord, Target, TrackerError, history_table
from lrtrack_tensorboard import events
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

    def upload(self, history: Path) -> None:
        if self._target.continued:
            whole = history_table.table_of(events.arrays(events.read(self._folder).points))
            history_table.write_parquet(whole, history)
        draft = self._folder / f"{history_table.NAME}.new"
        draft.write_bytes(history.read_bytes())
        draft.replace(self._folder / history_table.NAME)

    def complete(self, run: Run) -> None:
        self._writer.note(run=run.to_dict())

    def close(self, state: State, ended: float, summary: Mapping[str, float]) -> None:
        self._writer.note(state=state, ended=ended, summary=dict(summary))
        self._writer.close()

    def release(self) -> None:
        self._writer.close()
