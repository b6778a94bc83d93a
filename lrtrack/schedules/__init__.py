"""Schedules as values, without torch."""

from lrtrack.schedules.named import spec_of
from lrtrack.schedules.schedule import CONSTANT, JSON, Schedule, label_of, plain, text_of

__all__ = ["CONSTANT", "JSON", "Schedule", "label_of", "plain", "spec_of", "text_of"]
