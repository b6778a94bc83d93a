"""The metrics and settings in the event files of one run."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lrtrack._optional import load
from lrtrack.errors import clean
from lrtrack.fields import JSON
from lrtrack.records.alignment import OddRun, Series
from lrtrack.trackers.tensorboard.event_file import EventFile

#: Bounds of one run; what exceeds them is no training.
MOST_POINTS, MOST_METRICS, MOST_RETURNS, LONGEST_NAME = 20_000_000, 5_000, 1_000, 500
#: Tags of the plugin for hyper-parameters.
_STARTED, _ENDED = "_hparams_/session_start_info", "_hparams_/session_end_info"
#: The tag of the text that transformers' callback keeps its arguments in.
_ARGUMENTS = "args/text_summary"
_FAILED = 2  # `Status.STATUS_FAILURE` of the plugin
_START = 1  # `SessionLog.START`
_SCALARS = ("", "scalars")


@dataclass
class _Points:
    """The points of one metric, in the order of the files."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    times: array[float] = field(default_factory=lambda: array("d"))

    def series(self) -> Series:
        return Series(
            np.array(self.steps, np.int64),
            np.array(self.values, np.float64),
            np.array(self.times, np.float64),
        )

    def abandon(self, step: int) -> None:
        """Drop the points of a step and those after it."""
        kept = [index for index, own in enumerate(self.steps) if own < step]
        if len(kept) < len(self.steps):
            self.steps = array("q", [self.steps[index] for index in kept])
            self.values = array("d", [self.values[index] for index in kept])
            self.times = array("d", [self.times[index] for index in kept])


@dataclass
class Contents:
    """What the event files of one run hold.

    Attributes:
        metrics: metric name to its points; after a return to an earlier step, without those that
            it abandoned.
        params: settings, from the plugin for hyper-parameters or transformers' text.
        failed: whether the plugin says that the run failed.
        damage: the file that is damaged or cut off, and how; None without one.
        is_torn: whether the last file ends inside a record.
        first, last: times of the first and last event, in seconds since the epoch.
    """

    metrics: dict[str, Series] = field(default_factory=dict)
    params: dict[str, JSON] = field(default_factory=dict)
    failed: bool = False
    damage: str | None = None
    is_torn: bool = False
    first: float = math.inf
    last: float = -math.inf

    def is_summary(self) -> bool:
        """Whether these are settings with at most one value of a metric each.

        torch's `add_hparams` writes such a run below the run that it is about.
        """
        return bool(self.params) and all(s.steps.size <= 1 for s in self.metrics.values())

    def add_summary(self, other: Contents) -> None:
        """Take over settings, and metrics that are missing here."""
        self.params = {**other.params, **self.params}
        self.metrics = {**other.metrics, **self.metrics}
        self.failed = self.failed or other.failed


def read(files: Iterable[Path]) -> Contents:
    """Read the files of one run, each up to where it is damaged.

    Args:
        files: in the order in which they were begun.

    Raises:
        OddRun: they hold more than any training.
    """
    reader = _Reader()
    for path in files:
        file = EventFile(path)
        for record in file.records():
            reader.add(record)
        if file.damage is not None:
            reader.contents.damage = f"{path} is {file.damage}"
        reader.contents.is_torn = file.is_torn
    reader.contents.metrics = {name: points.series() for name, points in reader.points.items()}
    return reader.contents


def time_of(record: bytes) -> float | None:
    """The time of an event, in seconds since the epoch; None if it is none."""
    event = _protocol().Event.FromString(record)
    return event.wall_time if math.isfinite(event.wall_time) else None


class _Reader:
    """Collects what the events of one run hold."""

    def __init__(self) -> None:
        self.contents = Contents()
        self.points: dict[str, _Points] = {}
        self._parse = _protocol().Event.FromString
        self._left, self._returns = MOST_POINTS, 0

    def add(self, record: bytes) -> None:
        """Take one event."""
        event = self._parse(record)
        if math.isfinite(event.wall_time):
            self.contents.first = min(self.contents.first, event.wall_time)
            self.contents.last = max(self.contents.last, event.wall_time)
        for value in event.summary.value:
            if value.HasField("simple_value"):
                self._add_point(value.tag, event.step, value.simple_value, event.wall_time)
            elif value.metadata.plugin_data.plugin_name == "hparams":
                self._add_session(value.tag, value.metadata.plugin_data.content)
            elif value.HasField("tensor"):
                self._add_tensor(value, event)
        if event.HasField("session_log"):
            self._return_to(event)

    def _add_point(self, tag: str, step: int, value: float, when: float) -> None:
        points = self.points.get(tag)
        if points is None:
            name = clean(tag)
            if not name or len(name) > LONGEST_NAME:
                return
            if len(self.points) == MOST_METRICS:
                raise OddRun(f"it has more than {MOST_METRICS:,} metrics")
            points = self.points.setdefault(tag if name == tag else name, _Points())
        if self._left == 0:
            raise OddRun(f"it has more than {MOST_POINTS:,} values")
        self._left -= 1
        points.steps.append(step)
        points.values.append(value)
        points.times.append(when)

    def _add_tensor(self, value: Any, event: Any) -> None:
        plugin = value.metadata.plugin_data.plugin_name
        if value.tag == _ARGUMENTS and value.tensor.string_val:
            self.contents.params = {**_settings(value.tensor.string_val), **self.contents.params}
        elif plugin in _SCALARS and _is_number(value.tensor):
            number = load("tensorboard.util.tensor_util").make_ndarray(value.tensor)
            self._add_point(value.tag, event.step, float(number.item()), event.wall_time)

    def _add_session(self, tag: str, content: bytes) -> None:
        protocol = load("tensorboard.plugins.hparams.plugin_data_pb2")
        data = protocol.HParamsPluginData.FromString(content)
        if tag == _STARTED:
            settings = data.session_start_info.hparams
            self.contents.params |= {name: _value(settings[name]) for name in settings}
        elif tag == _ENDED:
            self.contents.failed = data.session_end_info.status == _FAILED

    def _return_to(self, event: Any) -> None:
        """A writer that goes on from an earlier step abandons what follows it."""
        if event.session_log.status != _START or event.step <= 0:
            return
        self._returns += 1
        if self._returns > MOST_RETURNS:
            raise OddRun(f"it returns to earlier steps more than {MOST_RETURNS:,} times")
        for points in self.points.values():
            points.abandon(event.step)


def _protocol() -> Any:
    return load("tensorboard.compat.proto.event_pb2", "tensorboard")


def _is_number(tensor: Any) -> bool:
    """Whether a tensor is one number; larger ones may take any memory when they are unpacked."""
    if tensor.string_val or tensor.ByteSize() > LONGEST_NAME:
        return False
    kinds = (1, 2, 3, 4, 5, 6, 9, 10, 14, 17, 19, 22, 23)  # floats, integers and truth values
    return (
        tensor.dtype in kinds
        and all(dim.size == 1 for dim in tensor.tensor_shape.dim)
        and (len(tensor.tensor_shape.dim) <= 8)
    )


def _value(value: Any) -> JSON:
    """A setting, with whole numbers as integers, because the plugin stores all as floats."""
    kind = value.WhichOneof("kind")
    content = getattr(value, kind) if kind in ("number_value", "string_value", "bool_value") else ""
    is_whole = isinstance(content, float) and content.is_integer() and abs(content) < 2**53
    return int(content) if is_whole else content


def _settings(texts: Sequence[bytes]) -> dict[str, JSON]:
    """Settings in a JSON text; none if it is something else."""
    try:
        settings = json.loads(texts[0])
    except (ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}
