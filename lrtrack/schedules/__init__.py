"""Schedules as values, without torch."""

from lrtrack.schedules.schedule import (
    CONSTANT,
    DEEPEST,
    JSON,
    Schedule,
    label_of,
    plain,
    shallow,
    text_of,
)
from lrtrack.schedules.to_spec import spec_of

__all__ = [
    "CONSTANT",
    "DEEPEST",
    "JSON",
    "Schedule",
    "label_of",
    "plain",
    "shallow",
    "spec_of",
    "text_of",
]
