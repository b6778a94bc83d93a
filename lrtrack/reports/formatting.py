"""Text forms of numbers, counts and schedule names in reports."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from rich.cells import cell_len, set_cell_size

from lrtrack.fields import JSON, text_of
from lrtrack.number_text import LARGE as LARGE
from lrtrack.number_text import NONE as NONE
from lrtrack.number_text import amount as amount
from lrtrack.number_text import count as count
from lrtrack.number_text import number as number
from lrtrack.number_text import readable as readable
from lrtrack.schedules import Schedule
from lrtrack.schedules.schedule import INFERRED, SOURCE
from lrtrack.stats import Effect, Spread

#: The most terminal cells of a name in a sentence.
NAME_WIDTH = 48
#: The most digits of a number that has its decimals in common with others.
_LONGEST = 7
#: The most significant digits of a difference.
_FINEST = 6
#: An end of an interval that is so many times as far away as the other has digits of its own.
_FAR = 100.0

_CALL = re.compile(r"([\w.<>]+)\(.*\)")


def rate(value: float | None) -> str:
    """Steps per second, rounded to whole numbers from 100 on."""
    return number(value, 3) if value is None or value < 100 else amount(value)


def places(values: Iterable[float | None]) -> int | None:
    """The number of decimals for all `values` of a column, so that their points are aligned.

    Returns:
        Decimals that give the largest value 4 significant digits; None if the smallest would get
        fewer than 3, so that each value needs its own.
    """
    sizes = [abs(value) for value in values if value]
    if not sizes or not math.isfinite(max(sizes)):
        return None
    low, high = (math.floor(math.log10(size)) for size in (min(sizes), max(sizes)))
    return 3 - high if 0 <= 3 - high <= 6 and high - low <= 1 else None


def aligned(value: float | None, decimals: int | None) -> str:
    """`value` with this many decimals; with 4 significant digits if there are too many, or None."""
    if value is None or decimals is None or abs(value) >= 10.0 ** (_LONGEST - decimals):
        return number(value)
    return f"{value:.{decimals}f}"


def mean_std(spread: Spread, decimals: int | None = None) -> str:
    """`0.1234 ± 0.0056`, or only the mean if there is no deviation."""
    mean = aligned(spread.mean, decimals)
    if spread.std is None:
        return mean
    visible = decimals is not None and (not spread.std or spread.std >= 10**-decimals)
    return f"{mean} ± {aligned(spread.std, decimals) if visible else number(spread.std, 2)}"


def interval(spread: Spread, decimals: int | None = None) -> str:
    """`[0.1200, 0.1270]`."""
    if spread.ci95 is None:
        return NONE
    low, high = (aligned(end, decimals) for end in spread.ci95)
    return f"[{low}, {high}]"


def difference(effect: Effect | None, *, sign: bool = True) -> tuple[str, str]:
    """A difference and its interval, `−0.0048` and `[−0.0123, 0.0027]`.

    Both have as many decimals as give the distance to the nearer end two significant digits, and
    more where an end would else be rounded to 0.

    Args:
        sign: whether to show it; without, the interval is that of the size of the difference.
    """
    if effect is None:
        return NONE, NONE
    value, (low, high) = effect.difference, effect.ci95
    if not sign and value < 0.0:
        value, low, high = -value, -high, -low
    ends = [size for size in (abs(low), abs(high)) if size > 0.0]
    half = min(value - low, high - value)  # on logarithms they may differ a lot
    # Two digits of half the interval, and one of an end that would else be rounded to 0.
    digits = [1 - math.floor(math.log10(half))] if half > 0.0 else [99]
    digits += [min(digits[0] + 2, -math.floor(math.log10(size))) for size in ends]
    decimals = max(digits)
    if decimals > 6 and value:  # an interval without width
        decimals = 2 - math.floor(math.log10(abs(value)))
    if value:
        decimals = min(decimals, max(_FINEST - 1 - math.floor(math.log10(abs(value))), 0))
    if not 0 <= decimals <= 6:
        texts = [number(end, 3) for end in (value, low, high)]
    else:
        far = _FAR * (abs(value) + max(half, 0.0))
        texts = [number(e, 3) if abs(e) > far else f"{e:.{decimals}f}" for e in (value, low, high)]
    value_text, low_text, high_text = (_minus(text) for text in texts)
    return value_text, f"[{low_text}, {high_text}]"


def _minus(text: str) -> str:
    """With a true minus sign, and none before a zero."""
    zero = text.startswith("-") and not text.strip("-0.")
    return text.lstrip("-") if zero else text.replace("-", "−", 1) if text[:1] == "-" else text


def some(names: Sequence[str], limit: int = 3) -> str:
    """`a, b, c and 2 more`."""
    if len(names) <= limit:
        return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"


def shortened(name: str) -> str:
    """A name cut to at most `NAME_WIDTH` terminal cells, to fit into a sentence."""
    if cell_len(name) <= NAME_WIDTH:
        return name
    return set_cell_size(name, NAME_WIDTH - 1).rstrip() + "…"


def short_labels(named: Iterable[tuple[str, Schedule | None]]) -> dict[str, str]:
    """For each label a short form with only the parameters that distinguish schedules of one name.

    `SequentialLR(LinearLR → CosineAnnealingLR)`, `StepLR(step_size=30)`.

    Args:
        named: pairs of a label and its schedule, or None if it stands for several.

    Returns:
        Label to short form; the whole label if the short form would be ambiguous.
    """
    schedules = dict(named)
    flats: dict[str, list[dict[str, str]]] = {}
    for schedule in schedules.values():
        if schedule is not None:
            flats.setdefault(_structure(schedule), []).append(schedule.flat())
    short = {}
    for label, schedule in schedules.items():
        if schedule is None or not label.startswith(schedule.label):
            short[label] = readable(label)
            continue
        own, others = schedule.flat(), flats[_structure(schedule)]
        telling = {
            k for k in own if any(_named(other.get(k)) != _named(own[k]) for other in others)
        }
        sign = "≈ " if schedule.source == INFERRED else ""
        data = {key: value for key, value in schedule.to_dict().items() if key != SOURCE}
        rest = readable(label[len(schedule.label) :])
        short[label] = sign + _telling(data, telling, "") + rest
    forms = list(short.values())
    return {label: form if forms.count(form) == 1 else label for label, form in short.items()}


def _structure(schedule: Schedule) -> str:
    """A schedule's name with the names of its inner schedules, which already distinguish it."""
    return _telling(schedule.to_dict(), (), "")


def _named(value: str | None) -> str | None:
    """A parameter's text; only the function's name of `function(…)`, whose arguments are listed
    too.
    """
    call = _CALL.fullmatch(value or "")
    return call[1] if call is not None else value


def _telling(data: Mapping[str, JSON], telling: Collection[str], path: str) -> str:
    """A schedule's label with its inner schedules' names and the parameters in `telling`."""
    inner: list[str] = []
    names: list[str] = []
    params: list[str] = []
    for key, value in sorted(data.items()):
        where = path + key
        parts = list(enumerate(value)) if isinstance(value, list | tuple) else []
        if isinstance(value, Mapping) and "name" in value:
            inner.append(_telling(value, telling, where + "."))
            names.append(str(value["name"]))
        elif any(isinstance(part, Mapping) and "name" in part for _, part in parts):
            inner += [
                _telling(part, telling, f"{where}.{at}.")
                for at, part in parts
                if isinstance(part, Mapping) and "name" in part
            ]
            names += [str(p["name"]) for _, p in parts if isinstance(p, Mapping) and "name" in p]
        elif key not in ("name", SOURCE) and where in telling:
            params.append(f"{key}={readable(text_of(value))}")
    for sign in (
        " -> ",
        " + ",
    ):  # several blocks in one run, whose name is composed of the blocks' names
        if len(inner) > 1 and data["name"] == sign.join(names) and not params:
            return sign.join(inner)
    shown = ", ".join([*([" → ".join(inner)] if inner else []), *params])
    return f"{data['name']}({shown})" if shown else str(data["name"])
