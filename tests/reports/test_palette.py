"""Colours and dashes of schedules."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.reports.palette import APART, COLOURS, DASHES, Look, for_print, lightness, looks_of
from lrtrack.schedules import Schedule
from lrtrack.stats import ComparisonResult, compare_histories

CONSTANT, STEP = Schedule("constant"), Schedule("StepLR", {"step_size": 30})


def compared(*histories) -> ComparisonResult:
    """A comparison of runs by their loss."""
    return compare_histories(list(histories), experiment="digits", metric="loss")


def test_lines_differ_without_colour():
    """Any schedules in a picture differ in lightness or dashes, for colour-blind readers, too."""
    # Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision
    # deficiency", 2009: severity 1 of protan, deutan and tritan
    protan = ((0.1523, 1.0526, -0.2049), (0.1145, 0.7863, 0.0992), (-0.0039, -0.0481, 1.0520))
    deutan = ((0.3673, 0.8606, -0.2280), (0.2801, 0.6725, 0.0474), (-0.0118, 0.0429, 0.9689))
    tritan = ((1.2555, -0.0767, -0.1788), (-0.0784, 0.9308, 0.1476), (0.0047, 0.6914, 0.3039))
    looks = for_print([Look(colour, 0) for colour in range(len(COLOURS))])
    for a, b in itertools.combinations(looks, 2):
        if a.dash == b.dash:
            for vision in (np.eye(3), protan, deutan, tritan):
                seen = [lightness(seen_as(COLOURS[look.colour], vision)) for look in (a, b)]
                assert abs(seen[0] - seen[1]) > 8.0, (a, b)


def seen_as(colour: str, matrix) -> str:
    """An sRGB colour after a transformation of its linear channels."""
    channels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(matrix) @ linear, 0.0, 1.0)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * channel):02X}" for channel in coded)


@given(st.sets(st.builds(Look, st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=8))
def test_dashes_are_chosen_by_lightness(looks):
    """Lines with equal dashes differ in lightness, whatever schedules a picture has."""
    printed = for_print(sorted(looks, key=lambda look: (look.colour, look.dash)))

    assert len(set(printed)) == len(looks)
    for a, b in itertools.combinations(printed, 2):
        apart = abs(lightness(COLOURS[a.colour]) - lightness(COLOURS[b.colour]))
        assert a.dash != b.dash or apart >= APART


def test_a_schedule_has_its_colour_whoever_wins(run_of):
    """Colours follow names, not ranks; more schedules than colours differ by dashes."""
    one = compared(run_of(CONSTANT, 0, loss=[1.0]), run_of(STEP, 0, loss=[2.0]))
    other = compared(run_of(CONSTANT, 0, loss=[2.0]), run_of(STEP, 0, loss=[1.0]))
    many = compared(*(
        run_of(Schedule("StepLR", {"step_size": size}), 0, loss=[1.0]) for size in range(60)
    ))  # fmt: skip

    assert looks_of(one.schedules) == looks_of(other.schedules)[::-1]
    assert len(set(looks_of(many.schedules))) == 60
    assert {look.dash for look in looks_of(one.schedules)} == {0}
    assert len(COLOURS) * len(DASHES) == 63
