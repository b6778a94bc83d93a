"""Schedules as values, without torch."""

from lrtrack.schedules.schedule import CONSTANT, JSON, Schedule, label_of, plain, text_of

__all__ = ["CONSTANT", "JSON", "Schedule", "label_of", "plain", "text_of"]
