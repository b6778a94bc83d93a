"""Thinned rows: every peak stays, the budget is kept, and batches make no difference."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrack.records import StepRecord
from lrtrack.stats.row_budget import RowBudget
from lrtrack.stats.thinning import Thinner

#: As many rows as W&B's charts are meant for.
A_MINUTE, A_RUN = 1_000, 500_000


def thinned(records: list[StepRecord], budget: RowBudget, *, ends: set[int] = frozenset()):
    """The rows of `records`; the stretch also ends before each record of `ends`."""
    thinner, rows = Thinner(budget), []
    for index, record in enumerate(records):
        if index in ends:
            rows += thinner.end()
        rows += thinner.add(record)
    return rows + thinner.end()


def training(steps: int, seconds: float) -> list[StepRecord]:
    """A training with a falling rate, a noisy loss with one peak, and a value now and then."""
    records = []
    for step in range(steps):
        metrics = {"lr": 1.0 / (1 + step), "loss": math.sin(step * step) + 2.0 - step / steps}
        if step == steps * 2 // 3:
            metrics["loss"] = 99.0
        if step % 500 == 499:
            metrics["val_loss"] = float(step)
        records.append(StepRecord(step, 1e9 + step * seconds, metrics))
    return records


def test_a_slow_training_keeps_every_row() -> None:
    """At a row in 60 ms, which is 1,000 a minute, nothing is left out."""
    records = training(5000, 0.0601)

    assert thinned(records, RowBudget(A_MINUTE, A_RUN)) == records


def test_the_first_minute_s_rows_come_at_once() -> None:
    """A thousand steps in a second are all kept."""
    records = training(1000, 0.001)

    assert thinned(records, RowBudget(A_MINUTE, A_RUN)) == records


def test_a_fast_training_keeps_to_the_budget() -> None:
    """Of 60,000 steps in a minute, about 2,000 rows stay: a minute's reserve and a minute's rows.

    The peak, each value of the metric that is logged now and then, and both ends are among them.
    """
    records = training(60_000, 0.001)
    rows = thinned(records, RowBudget(A_MINUTE, A_RUN))
    steps = {row.step for row in rows}

    assert len(rows) == 2002
    assert {0, 40_000, 59_999} <= steps
    assert set(range(499, 60_000, 500)) <= steps


def test_a_long_training_keeps_to_the_budget_of_a_run() -> None:
    """With room for 500 rows, a tenfold number of steps adds a tenth of them."""
    counts = [
        len(thinned(training(steps, 1.0), RowBudget(A_MINUTE, 500))) for steps in (1_000, 10_000)
    ]

    assert counts == [151, 201]


def test_values_that_are_not_finite() -> None:
    """Both ends of a stretch of NaN or infinite values stay, and the finite values beside them."""
    values = [1.0] * 300 + [math.nan] * 300 + [math.inf] * 300 + [2.0] * 300
    records = [StepRecord(i, i * 1e-6, {"loss": value}) for i, value in enumerate(values)]
    rows = thinned(records, RowBudget(1, A_RUN))

    assert [row.step for row in rows] == [0, 1, 299, 300, 599, 600, 899, 900, 1199]


def test_parts_of_a_step_are_one_row() -> None:
    """What was added to a step later is in its row, also if that is not the last record."""
    parts = [StepRecord(0, 1.0, {"lr": 0.1}), StepRecord(0, 2.0, {"val_loss": 3.0})]
    rows = thinned([*parts, StepRecord(1, 2.5, {"lr": 0.2})], RowBudget(A_MINUTE, A_RUN))

    assert rows == [
        StepRecord(0, 1.0, {"lr": 0.1, "val_loss": 3.0}),
        StepRecord(1, 2.5, {"lr": 0.2}),
    ]


@pytest.mark.parametrize("back", [-3600.0, 0.0])
def test_a_clock_that_is_set_back(back: float) -> None:
    """Time goes on from where the clock was set to, and no room is earned by that."""
    budget = RowBudget(60, A_RUN)
    for when in (1e9, 1e9 + back, 1e9 + back + 2.0):
        budget.step(when)
        budget.spend(20)

    assert (budget.room, budget.time) == (2.0, 1e9 + back + 2.0)


def test_a_budget_goes_on_from_its_state() -> None:
    """A restored budget affords what the first one did."""
    first = RowBudget(60, A_RUN)
    first.spend_each([1e9, 1e9 + 0.5])
    second = RowBudget(60, A_RUN)
    second.restore(first.state)

    assert second == first
    assert first.state == [2, 2, 58.5, 1e9 + 0.5]


_VALUES = st.one_of(
    st.floats(-1e3, 1e3), st.sampled_from([math.nan, math.inf, -math.inf, 0.0]), st.none()
)


@st.composite
def _trainings(draw: st.DrawFn) -> list[StepRecord]:
    """Records of up to three metrics, with missing and non-finite values, at any speed."""
    rows = draw(st.lists(st.tuples(_VALUES, _VALUES, st.booleans()), min_size=1, max_size=120))
    seconds = draw(st.sampled_from([0.0, 0.001, 0.5, 20.0]))
    return [
        StepRecord(
            step,
            1e9 + step * seconds,
            {name: value for name, value in zip("ab", values, strict=True) if value is not None}
            | {"lr": 1.0},
        )
        for step, (*values, _) in enumerate(rows)
    ]


def _series(records: list[StepRecord], name: str) -> list[tuple[int, float]]:
    return [(r.step, r.metrics[name]) for r in records if name in r.metrics]


@settings(max_examples=150, deadline=None)
@given(_trainings(), st.integers(1, 60), st.integers(5, 200))
def test_what_every_thinned_run_has(records: list[StepRecord], a_minute: int, a_run: int) -> None:
    """Rows are original ones in order; ends, extremes, and changes to and from NaN are there."""
    rows = thinned(records, RowBudget(a_minute, a_run))
    originals = {id(record) for record in records}

    assert [row for row in rows if id(row) not in originals] == []
    assert [row.step for row in rows] == sorted({row.step for row in rows})
    assert (rows[0], rows[-1]) == (records[0], records[-1])
    for name in ("a", "b", "lr"):
        values, kept = _series(records, name), dict(_series(rows, name))
        finite = [value for _, value in values if math.isfinite(value)]
        if values:
            assert {values[0][0], values[-1][0]} <= set(kept)
        if finite:
            left = [value for value in kept.values() if math.isfinite(value)]
            assert (min(left), max(left)) == (min(finite), max(finite))
        for (before, old), (after, new) in itertools.pairwise(values):
            if repr(old)[-3:] != repr(new)[-3:] and not (math.isfinite(old) and math.isfinite(new)):
                assert {before, after} <= set(kept)


@settings(max_examples=100, deadline=None)
@given(_trainings(), st.integers(1, 60), st.lists(st.integers(0, 119), max_size=4))
def test_thinning_goes_on_from_any_end(
    records: list[StepRecord], a_minute: int, ends: list[int]
) -> None:
    """After the end of a stretch, another thinner with the same budget chooses the same rows."""
    whole = thinned(records, RowBudget(a_minute, 50), ends=set(ends))
    budget, rows, begin = RowBudget(a_minute, 50), [], 0
    for end in [*sorted({end for end in ends if end < len(records)}), len(records)]:
        rows += thinned(records[begin:end], budget)
        other = RowBudget(a_minute, 50)
        other.restore(budget.state)
        budget, begin = other, end

    assert rows == whole


@settings(max_examples=100, deadline=None)
@given(
    st.integers(20, 3000),
    st.sampled_from([0.0, 1e-4, 0.01]),
    st.integers(1, 100),
    st.integers(1, 9),
)
def test_no_more_rows_than_the_budget_has(
    steps: int, seconds: float, a_minute: int, metrics: int
) -> None:
    """Metrics of every step take a minute's rows at once, then as many a minute, then an end."""
    records = [
        StepRecord(
            step,
            1e9 + step * seconds,
            {f"m{index}": math.sin(step * (index + 2)) for index in range(metrics)},
        )
        for step in range(steps)
    ]
    most = a_minute * (1 + steps * seconds / 60) + max(16, 4 * metrics)

    assert len(thinned(records, RowBudget(a_minute, A_RUN))) <= most


def test_how_many_rows_there_may_be():
    """A row a second is no more than 60 a minute; what was saved up may come at once."""
    budget = RowBudget(60, 10**5, steps=1000, room=0.0)
    budget.step(100.0)  # the first step earns all that there is room for
    budget.spend(60)
    assert (budget.room, budget.is_exceeded) == (0.0, False)
    budget.step(100.5)
    assert (budget.room, budget.affords(1)) == (0.5, False)
    budget.step(100.25)  # the clock was set back
    assert (budget.room, budget.time) == (0.5, 100.25)
    budget.step(100.75)
    assert (budget.room, budget.affords(1)) == (1.0, True)
    budget.spend(2)
    assert (budget.room, budget.is_exceeded) == (-1.0, True)
    budget.spend(1000)
    assert budget.room == -60.0
    assert budget.state == [1004, 1062, -60.0, 100.75]

    whole = RowBudget(1000, 100)
    whole.spend(100)
    assert not whole.is_exceeded
    whole.spend(1)
    assert whole.is_exceeded


def test_how_many_rows_a_run_may_have():
    """The first fifth of a run's rows are steps' own, and each tenfold of steps adds a tenth."""
    budget = RowBudget(10**6, 100)
    most = []
    for steps, rows in ((20, 20), (200, 30), (2000, 40)):
        budget.steps = steps
        budget.rows = rows - 1
        most.append((budget.affords(1), budget.affords(2)))

    assert most == [(True, False)] * 3
