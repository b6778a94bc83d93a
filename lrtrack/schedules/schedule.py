"""`Schedule`: a schedule's name and parameters as a value, comparable and hashable by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from lrtrack.fields import DEEPEST, JSON, flatten, plain, shallow, text_of

CONSTANT = "constant"
#: The name of the schedule of a run whose learning rates were not recorded.
UNKNOWN = "unknown"
#: Where a schedule comes from: an object that moved the rate, or the rates themselves.
DECLARED, INFERRED = "declared", "inferred"
#: The key of the source in a schedule's mapping; missing for declared schedules.
SOURCE = "source"
#: Significant digits of an inferred schedule's numbers that count in its id.
_DIGITS = 3


@dataclass(frozen=True, eq=False)
class Schedule:
    """A schedule as data: no torch object inside, equal when name and parameters are equal.

    Attributes:
        name: the class name in torch, or `"constant"`.
        params: parameters by their constructor names. A schedule made of schedules holds them as
            mappings `{"name": …, <parameters>}`, usually in a list under `"schedulers"`.
        source: `"declared"` for a scheduler object or its description, `"inferred"` if it was
            found from recorded learning rates.
    """

    name: str
    params: Mapping[str, JSON] = field(default_factory=dict)
    source: str = DECLARED

    @cached_property
    def spec(self) -> str:
        """Canonical JSON: sorted keys, no spaces, and equal numbers such as 0.0 and 0 as `0`."""
        same = _canonical(self.to_dict())
        return json.dumps(same, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def id(self) -> str:
        """First 8 hex digits of a SHA-256: equal for equal schedules.

        Of `spec` if the schedule was declared. If it was inferred, of its name and parameters with
        3 significant digits.
        """
        return hashlib.sha256(self._identity.encode()).hexdigest()[:8]

    @cached_property
    def _identity(self) -> str:
        if self.source != INFERRED and INFERRED not in self.spec:
            return self.spec
        rounded = _canonical(_rounded(self.to_dict()))
        return json.dumps(rounded, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def label(self) -> str:
        """The schedule in readable form: `StepLR(gamma=0.1, step_size=30)`.

        An inferred one begins with `≈`: `≈ warmup(steps=30) → cosine(steps=70)`.
        """
        return label_of(self.to_dict())

    def to_dict(self) -> dict[str, JSON]:
        """Return one flat mapping with `name` first; the inverse of `from_dict`."""
        data = {"name": self.name, **{key: plain(self.params[key]) for key in self.params}}
        return {**data, SOURCE: self.source} if self.source != DECLARED else data

    @classmethod
    def from_dict(cls, data: Mapping[str, JSON]) -> Schedule:
        """Rebuild a schedule.

        Args:
            data: the result of `to_dict`.

        Raises:
            ValueError: `"name"` is missing or is not text.
        """
        name = data.get("name")
        if not isinstance(name, str):
            raise ValueError(f"a schedule's name must be text, got {type(name).__name__}")
        source = data.get(SOURCE)
        known = {"name", SOURCE} if source in (DECLARED, INFERRED) else {"name"}
        params = {key: value for key, value in data.items() if key not in known}
        return cls(name, params, INFERRED if source == INFERRED else DECLARED)

    @classmethod
    def from_spec(cls, spec: str) -> Schedule:
        """Rebuild a schedule.

        Args:
            spec: its canonical JSON, as in the attribute `spec`.

        Raises:
            ValueError: the text is not a schedule in JSON.
        """
        try:
            data = json.loads(spec)
        except RecursionError:
            raise ValueError("the schedule's JSON is nested too deeply") from None
        if not shallow(data):
            raise ValueError(f"the schedule nests more than {DEEPEST} lists and mappings")
        if not isinstance(data, dict):
            raise ValueError(f"a schedule must be a JSON object, got {spec[:80]!r}")
        return cls.from_dict(data)

    def flat(self) -> dict[str, str]:
        """Return dotted parameter names with their values as text, as in MLflow tags.

        Lists of schedules are expanded (`schedulers.0.name`). Every other value is written as JSON,
        except text, which is unchanged.
        """
        values = flatten(self.to_dict(), lists=True)
        return {name: text_of(value) for name, value in values.items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)


def _canonical(value: JSON) -> JSON:
    """Write equal numbers in one form: floats with an exact integer value become integers."""
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _rounded(value: JSON) -> JSON:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(f"{value:.{_DIGITS}g}")
    return value


def label_of(data: Mapping[str, JSON]) -> str:
    """Format a schedule's mapping as `Name(key=value, …)`, with inner schedules by their labels.

    A setting of the learning-rate function is a parameter too, and is not repeated after the
    function's text, `f(warmup=5)`.
    """
    if data.get(SOURCE) == INFERRED:
        own = {key: value for key, value in data.items() if key != SOURCE}
        links = own.get("schedulers")
        return f"≈ {' → '.join(map(_shown, links if isinstance(links, list | tuple) else [own]))}"
    function = data.get(_FUNCTION)
    inner = ", ".join(
        f"{key}={_shown(data[key])}"
        for key in sorted(data)
        if key != "name" and not _is_said(key, data[key], function)
    )
    return f"{data['name']}({inner})" if inner else str(data["name"])


#: The parameter that holds the learning-rate function of a schedule as text.
_FUNCTION = "lr_lambda"


def _is_said(key: str, value: JSON, function: JSON) -> bool:
    """Whether a function's text contains `key=value` as one of its arguments."""
    if key == _FUNCTION or not isinstance(function, str):
        return False
    return any(
        f"{before}{key}={text}{after}" in function
        for text in (json.dumps(plain(value), ensure_ascii=False), text_of(value))
        for before in ("(", ", ")
        for after in (")", ", ")
    )


def _is_schedule(value: JSON) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("name"), str)


def _shown(value: JSON) -> str:
    if _is_schedule(value):
        return label_of(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_shown(inner) for inner in value)}]"
    return text_of(value)
