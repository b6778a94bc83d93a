"""Colours and dash patterns of schedules, the same in every panel and, if possible, every
report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lrtrack.stats import ScheduleSummary

#: On white and on black. After Okabe & Ito ("Color Universal Design", 2008), distinguishable with
#: colour blindness; without its yellow, which is invisible on white, and lighter on black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#3A3A3A")
DARK = ("#4BA3E3", "#FF8A4C", "#2BC79A", "#E6A0CC", "#F2B632", "#A5DCFA", "#E8E8E8")
#: Lengths of dashes and gaps, in line widths.
DASHES: Sequence[tuple[float, ...]] = (
    (), (5, 2), (1.5, 1.5), (7, 2, 1.5, 2), (10, 3), (2.5, 4), (8, 2, 1.5, 2, 1.5, 2),
    (14, 3, 3, 3), (1, 4),
)  # fmt: skip
#: The lightness by which two colours must differ to be told apart in grey, in units of CIE L*.
APART = 12.0
#: The colours of common schedules.
_FIXED: Mapping[str, int] = {
    "OneCycleLR": 0,
    "StepLR": 1,
    "CosineAnnealingLR": 2,
    "CosineAnnealingWarmRestarts": 3,
    "ReduceLROnPlateau": 4,
    "ExponentialLR": 5,
    "constant": 6,
}


@dataclass(frozen=True)
class Look:
    """Index of a colour, and of a dash pattern."""

    colour: int
    dash: int


def looks_of(schedules: Sequence[ScheduleSummary]) -> list[Look]:
    """A look for each schedule; up to 63 schedules all differ.

    A schedule gets the colour of its name if that is free, otherwise the next one; once all colours
    are used, dashed lines. Ranks do not matter: a change of the order changes no colour.
    """
    used: set[Look] = set()
    looks: dict[str, Look] = {}
    # names without parameters first, so that they get their own colour
    for item in sorted(schedules, key=lambda item: (item.schedule not in _FIXED, item.label)):
        looks[item.label] = _free(_wanted(item.schedule), used)
        used.add(looks[item.label])
    return [looks[item.label] for item in schedules]


def for_print(looks: Sequence[Look]) -> list[Look]:
    """The same colours with dashes such that any two lines differ without colour, too.

    Two lines have the same dashes only if their lightness differs by at least `APART`, which
    remains in a grey print and for colour-blind readers. The order of `looks` does not matter.
    """
    dashes: dict[Look, int] = {}
    for look in sorted(set(looks), key=lambda look: (look.dash, look.colour)):
        light = lightness(COLOURS[look.colour])
        taken = {
            dash
            for other, dash in dashes.items()
            if abs(lightness(COLOURS[other.colour]) - light) < APART
        }
        dashes[look] = min(set(range(len(DASHES))) - taken, default=look.dash)
    return [Look(look.colour, dashes[look]) for look in looks]


def lightness(colour: str) -> float:
    """CIE L* of an sRGB colour such as `#0072B2`, from 0 (black) to 100 (white)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance


def _wanted(name: str) -> int:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return _FIXED.get(name, digest[0] % len(COLOURS))


def _free(colour: int, used: set[Look]) -> Look:
    for dash in range(len(DASHES)):
        for shift in range(len(COLOURS)):
            look = Look((colour + shift) % len(COLOURS), dash)
            if look not in used:
                return look
    return Look(colour, len(used) % len(DASHES))
