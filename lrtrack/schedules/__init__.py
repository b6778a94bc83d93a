"""Learning-rate schedules as plain data, without torch."""

from lrtrack.schedules.schedule import CONSTANT, Schedule, label_of
from lrtrack.schedules.several import parts_of, side_by_side
from lrtrack.schedules.to_spec import spec_of

__all__ = ["CONSTANT", "Schedule", "label_of", "parts_of", "side_by_side", "spec_of"]
