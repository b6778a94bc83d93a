"""`infer_schedule` on the rates that training scripts compute by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lrtrack.schedules import infer_schedule

N = 1000
PEAK = 6e-4


def half_cosine(share: float) -> float:
    """Return the factor of a half cosine wave, from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * share))


#: The formulas that training scripts write by hand, with the schedule that they are.
BY_HAND = {
    "nanoGPT": (
        lambda i: (
            PEAK * (i + 1) / 101
            if i < 100
            else 6e-5
            if i > 900
            else 6e-5 + (PEAK - 6e-5) * half_cosine((i - 100) / 800)
        ),
        "warmup(start=0.0099, steps=100) -> cosine(steps=800, min_lr=6e-05) -> "
        "constant(factor=0.1)",
    ),
    "from zero": (
        lambda i: PEAK * i / 100 if i < 100 else PEAK * half_cosine((i - 100) / 900),
        "warmup(start=0, steps=100) -> cosine(steps=900)",
    ),
    "trapezoid": (
        lambda i: PEAK * min(1.0, (i + 1) / 50, (N - i) / 300),
        "wsd(steps=1000, warmup=49, decay=300, start=0.02)",
    ),
    "constant, then linear to a tenth": (
        lambda i: PEAK * (1.0 if i < 600 else 0.1 + 0.9 * (N - i) / 400),
        "wsd(steps=1000, warmup=0, decay=400, end=0.1)",
    ),
    "square root cooldown": (
        lambda i: PEAK * min(1, i / 100) * (1 if i < 800 else 1 - math.sqrt((i - 800) / 200)),
        "wsd(steps=1000, warmup=100, decay=200, start=0, shape='sqrt')",
    ),
    "annealed per update": (
        lambda i: 2.5e-4 * (1 - (i // 10) / 100),
        "linear(start=1, end=0, steps=100, interval=10)",
    ),
    "exponential cooldown": (
        lambda i: PEAK * min(1, i / 100) * 0.5 ** (max(0, i - 800) / 50),
        "warmup(start=0, steps=100, lasts=800) -> exponential(gamma=0.986233)",
    ),
    "Noam": (
        lambda i: 512**-0.5 * min((i + 1) ** -0.5, (i + 1) * 400**-1.5),
        "warmup(start=0.0025, steps=399) -> inverse_sqrt(timescale=400)",
    ),
    "warm-up and drops by epochs": (
        lambda i: 0.1 * min(1, (i // 50 + 1) / 5) * 0.1 ** ((i >= 500) + (i >= 750)),
        "warmup(start=0.2, steps=4, interval=50) -> multistep(milestones=[6, 11], interval=50)",
    ),
    "warm-up by steps, cosine by epochs": (
        lambda i: 0.1 * i / 50 if i < 50 else 0.1 * half_cosine((i // 50 - 1) / 19),
        "warmup(start=0, steps=50) -> cosine(steps=19, interval=50)",
    ),
    "drops at validation": (
        lambda i: 20 * 0.25 ** sum(i >= at for at in (137, 303, 311, 720)),
        "multistep(milestones=[137, 303, 311, 720], gamma=0.25)",
    ),
    "warm-up, and a cosine that counts its steps": (
        lambda i: PEAK * i / 100 if i < 100 else PEAK * half_cosine(i / N),
        "warmup(start=0, steps=100) -> cosine(steps=1000, skip=100)",
    ),
    "the same by epochs, then constant": (
        lambda i: 0.02 * (i // 20 + 1) if i < 100 else 0.1 * half_cosine(min(i // 20 / 40, 1)),
        (
            "warmup(start=0.2, steps=4, lasts=100, interval=20) -> "
            "cosine(steps=40, skip=5, interval=20) -> constant(factor=0)"
        ),
    ),
    "warm-up whose last step is at the peak": (
        lambda i: PEAK * (i + 1) / 100 if i < 100 else PEAK * half_cosine((i - 100) / 900),
        "warmup(start=0.01, steps=99, lasts=100) -> cosine(steps=900)",
    ),
    "cosine of a continued training": (
        lambda i: PEAK * half_cosine((i + 500) / 2000),
        "cosine(steps=2000, skip=500)",
    ),
    "range test": (lambda i: 1e-7 * 10 ** (8 * i / N), "exponential(gamma=1.01859139)"),
    "fell back at a resume": (
        lambda i: 0.1 * 0.999 ** (i % 500),
        "exponential(gamma=0.999, lasts=500) -> exponential(gamma=0.999)",
    ),
    "restarts": (lambda i: 0.1 * half_cosine(i % 77 / 77), "cosine_restarts(steps=77)"),
    "constant": (lambda i: 0.1, "constant"),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_formulas_of_training_scripts(name, error_of):
    """A curve that a script computes by hand gets the text of the schedule that it is."""
    function, expected = BY_HAND[name]
    lr = np.array([function(i) for i in range(N)])
    inferred = infer_schedule(lr)

    assert inferred.spec == expected
    assert error_of(inferred, lr, np.arange(N)) <= 1e-3
    assert inferred.error <= 1e-3


#: Formulas of which no schedule is the exact form, with the one that is within 1 % of the peak.
NEARLY = {
    "counted in tokens": (
        lambda i: (
            PEAK * min((i + 1) * 16 / 1605, max(0.1, half_cosine(((i + 1) * 16 - 1605) / 14000)))
        ),
        "linear(start=0.00997, end=0.997, steps=99, lasts=100) -> cosine(steps=873, lasts=693) -> "
        "constant(factor=0.1)",
    ),
    "warm-up multiplied with a cosine": (
        lambda i: 1e-2 * min(1, (i + 1) / 50) * half_cosine(i / N),
        "linear(start=0.0211, end=0.995, steps=49) -> cosine(steps=1000, skip=49)",
    ),
    "long warm-up multiplied with a line": (
        lambda i: 1e-2 * min(1, (i + 1) / 200) * (1 - i / N),
        "piecewise(steps=[0, 50, 100, 150, 199, 999], "
        "factors=[0.00624, 0.302, 0.567, 0.801, 1, 0.00125])",
    ),
}


@pytest.mark.parametrize("name", NEARLY)
def test_formulas_that_are_nearly_a_schedule(name, error_of):
    """A formula that no schedule computes exactly gets the shortest text within 1 %."""
    function, expected = NEARLY[name]
    lr = np.array([function(i) for i in range(N)])
    inferred = infer_schedule(lr)

    assert inferred.spec == expected
    assert error_of(inferred, lr, np.arange(N)) <= 1e-2
    assert 1e-3 < inferred.error <= 1e-2


@pytest.mark.parametrize("digits", [None, 4])
@pytest.mark.parametrize("name", ["nanoGPT", "from zero", "trapezoid", "annealed per update"])
def test_rounded_rates_give_the_same_kinds(name, digits, error_of):
    """32-bit rates, and rates that were logged with 4 digits, keep the kinds of the schedule."""
    function, expected = BY_HAND[name]
    exact = np.array([function(i) for i in range(N)])
    short = (
        exact.astype(np.float32) if digits is None else [float(f"{x:.{digits}g}") for x in exact]
    )
    kinds = [part.partition("(")[0] for part in expected.split(" -> ")]
    inferred = infer_schedule(short)

    assert [part.partition("(")[0] for part in inferred.spec.split(" -> ")] == kinds
    assert error_of(inferred, exact, np.arange(N)) <= 1e-3
