"""Learning-rate schedules as plain data, without torch."""

from lrtrack.schedules.schedule import CONSTANT, Schedule, label_of
from lrtrack.schedules.to_spec import spec_of

__all__ = ["CONSTANT", "Schedule", "label_of", "spec_of"]
