"""Reading event files back, with TensorBoard's own reader."""

import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util.tensor_util import make_ndarray

from lrtrack.trackers import Run

#: What precedes a metric's name where all 64 bits of its values are.
EXACT = "exact/"
#: Metric, step, value as text, seconds since the epoch.
Point = tuple[str, int, str, float]


class Stored(NamedTuple):
    """What a run's event files hold.

    Attributes:
        points: all values in the order in which they came, without those of abandoned steps.
        notes: what is no number, the latest of each name.
    """

    points: list[Point]
    notes: dict[str, Any]

    def run(self) -> Run | None:
        """The run as it was noted last; None where lrtrack did not write it."""
        return Run.from_dict(self.notes["run"]) if "run" in self.notes else None


def read(folder: Path) -> Stored:
    """All files of a run, in the order in which they were begun; a torn end is left out."""
    files = [list(EventFileLoader(str(path)).Load()) for path in folder.glob("events.out.*")]
    found = Stored([], {})
    files = sorted(filter(None, files), key=lambda file: file[0].wall_time)
    for event in itertools.chain.from_iterable(files):
        for value in event.summary.value:
            tag, content = value.tag, make_ndarray(value.tensor)
            if content.dtype == object:  # text
                found.notes[tag.split("/")[1]] = json.loads(content.item())
            elif tag.startswith(EXACT):
                name = tag.removeprefix(EXACT)
                found.points.append((name, event.step, repr(float(content)), event.wall_time))
    run = found.run()
    rewinds = run.rewinds if run else ()  # event files keep the points that these abandon
    kept = [p for p in found.points if not any(r.abandons(p[1], p[3]) for r in rewinds)]
    return Stored(kept, found.notes)
