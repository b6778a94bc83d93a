"""Specs are expanded into their parts, and missing lengths are filled in."""

from __future__ import annotations

import pytest

from lrtrack.errors import UsageError
from lrtrack.schedules.catalogue import stages_of
from lrtrack.schedules.chain import ends_of, parts_of
from lrtrack.schedules.spec import SpecError, Stage


def parts(text: str, total_steps: int | None = None) -> list[tuple[str, int | None]]:
    """Return names and lengths of a spec's parts."""
    return [(part.name, part.lasts) for part in parts_of(stages_of(text), total_steps)]


WSD = ("warmup", "constant", "linear")


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("wsd", (50, 850, 100)),
        ("wsd(warmup=100, decay=200)", (100, 700, 200)),
        ("wsd(warmup=0.2, decay=0.25)", (200, 550, 250)),
        ("wsd(warmup=100, decay=200, steps=400)", (100, 100, 200)),
        ("wsd(warmup=100, stable=30, decay=20)", (100, 30, 20)),
        ("wsd(warmup=100, stable=700, decay=200)", (100, 700, 200)),
    ],
)
def test_wsd_lengths(text, lengths):
    """Lengths of `wsd` are steps or shares of all steps; the stable rate takes the rest."""
    total = None if "stable" in text else 1000

    assert list(zip(WSD, lengths, strict=True)) == parts(text, total)


def test_wsd_leaves_out_what_lasts_no_step():
    """A `wsd` without warm-up begins at the stable rate."""
    assert parts("wsd(warmup=0, decay=0.2, shape=cosine, min_lr=1e-5)", 100) == [
        ("constant", 80),
        ("cosine", 20),
    ]
    assert parts("wsd(warmup=0, decay=1.0)", 100) == [("linear", 100)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flat_cosine", [("constant", 72), ("cosine", 28)]),
        ("flat_cosine(flat=0.5, min_lr=0.01)", [("constant", 50), ("cosine", 50)]),
        ("flat_cosine(flat=0)", [("cosine", 100)]),
        (
            "warmup(steps=20) -> flat_cosine(flat=60)",
            [("warmup", 20), ("constant", 60), ("cosine", 20)],
        ),
        (
            "flat_cosine(steps=50, flat=10) -> linear(steps=5, lasts=20) -> constant",
            [("constant", 10), ("cosine", 40), ("linear", 20), ("constant", None)],
        ),
        ("wsd(steps=50, lasts=70) -> exponential(gamma=0.9)",
         [("warmup", 2), ("constant", 43), ("linear", 25), ("exponential", None)]),
        ("step(steps=5, lasts=30) -> cosine", [("step", 30), ("cosine", 70)]),
        ("warmup(steps=0) -> cosine", [("cosine", 100)]),
        ("warmup(lasts=10) -> onecycle(max_lr=1)", [("warmup", 10), ("onecycle", 90)]),
        ("onecycle(max_lr=1, epochs=3, steps_per_epoch=7) -> cosine",
         [("onecycle", 21), ("cosine", 79)]),
        ("warmup(steps=10.0) -> constant(steps=40) -> cosine(steps=9)",
         [("warmup", 10), ("constant", 40), ("cosine", 9)]),
    ],
)  # fmt: skip
def test_chains_are_flat(text, expected):
    """Any composition becomes one flat list of parts, the last of which takes the rest."""
    assert expected == parts(text, 100)


def test_where_the_parts_begin():
    """The milestones of a chain are the steps at which its parts begin."""
    chain = parts_of(stages_of("warmup(steps=20) -> flat_cosine(steps=30, flat=10)"))

    assert list(ends_of(chain)) == [20, 30]


@pytest.mark.parametrize(
    ("text", "total", "why"),
    [
        ("wsd", None, r"wsd needs steps=…, or scheduler\(…, total_steps=…\)"),
        ("flat_cosine", None, "flat_cosine needs steps=…"),
        ("wsd(warmup=60, decay=50)", 100, "warmup=60 and decay=50 do not fit into 100 steps"),
        ("wsd(warmup=1, stable=2, decay=3)", 100, "do not add up to 100 steps"),
        ("wsd(shape=cubic)", 100, "Unknown shape of wsd 'cubic'.*cosine, linear"),
        ("wsd(min_lr=0.1)", 100, "linear decay ends at end_factor=…, not at min_lr=…"),
        ("wsd(shape=cosine, end=0.1)", 100, "cosine decay ends at min_lr=…"),
        (
            "wsd(warmup=1.5)",
            100,
            "warmup must be a whole number of steps, at least 0, or a share.*not 1.5",
        ),
        (
            "wsd(steps=9, lasts=2) -> constant",
            None,
            "lasts=2 ends before its last part begins",
        ),
        ("flat_cosine(flat=100)", 100, "flat=100 leaves none of the 100 steps"),
        ("cosine(steps=0)", None, "T_max must be a whole number of steps, at least 1, not 0"),
        (
            "step(steps=true)",
            None,
            "step_size must be a whole number of steps, at least 1, not True",
        ),
        ("warmup(steps=100) -> cosine", 100, "total_steps=100 leaves no steps for cosine"),
        ("linear -> constant", None, "linear needs total_iters=… or lasts=…, so that the next"),
        ("cosine(steps=9, lasts=9)", None, "cosine is the last schedule, so lasts has no effect"),
        ("constant(steps=3) -> plateau", None, "plateau needs a metric"),
    ],
)
def test_lengths_that_cannot_be(text, total, why):
    """A length that is impossible is refused with an error that names the parameter."""
    with pytest.raises(UsageError, match=why):
        parts(text, total)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("warmup(steps=5) -> wsd(decay=30, shape=x)", 33),
        ("warmup(steps=5) -> wsd(warmup=30, decay=80)", 19),
        ("warmup(steps=-5) -> cosine", 7),
        ("constant(steps=5) -> cosine(lasts=3)", 28),
        ("step(steps=5) -> cosine", 0),
    ],
)
def test_mistakes_are_pointed_at(text, at):
    """An error points at the wrong parameter, or at the schedule if no single one is wrong."""
    with pytest.raises(SpecError) as caught:
        parts(text, 100)

    assert str(caught.value).splitlines()[1:] == [f"  {text}", " " * (at + 2) + "^"]


def test_stages_without_a_text_have_errors_too():
    """A stage that was built without a text is refused with the reason and no pointer."""
    with pytest.raises(UsageError, match=r"^wsd needs steps"):
        parts_of([Stage("wsd")])
