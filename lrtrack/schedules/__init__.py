"""Schedules as values, without torch."""

from lrtrack.schedules.schedule import CONSTANT, Schedule, label_of
from lrtrack.schedules.to_spec import spec_of

__all__ = ["CONSTANT", "Schedule", "label_of", "spec_of"]
