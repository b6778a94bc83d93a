"""Mean losses of incomplete accumulation groups, wherever a loss is summarised."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.reports.curves import curves_of
from lrtrack.schedules import Schedule
from lrtrack.shipping.run_records import run_metrics
from lrtrack.stats import compare_histories
from lrtrack.stats.accumulation import mean_losses, series
from lrtrack.stats.summary import summarise

NAN = float("nan")
#: Two epochs of eleven batches in groups of four, the mean of every batch 8: what a plain loop
#: with `loss / 4` records, and what its loss was.
SUMS, COUNTS = [8.0, 8.0, 6.0, 8.0, 8.0, 6.0], [4.0, 4.0, 3.0, 4.0, 4.0, 3.0]
MEANS = [8.0] * 6


@pytest.mark.parametrize(
    ("losses", "counts", "expected"),
    [
        (SUMS, COUNTS, MEANS),
        ([8.0, 2.0, 8.0, 2.0], [4, 1, 4, 1], [8.0] * 4),  # equally common: the larger is usual
        ([8.0, 6.0], [4, 3], [8.0, 8.0]),
        ([2.0, 8.0, 8.0], [1, 4, 4], [8.0] * 3),  # resumed in the middle of an epoch
        ([8.0, 8.0, 6.0, 4.0, 8.0], [4, 4, 3, 2, 4], [8.0] * 5),
        ([8.0, 16.0, 8.0], [1, 2, 1], [8.0] * 3),  # a step that the loop left out
        ([8.0, 8.0, 6.0], [2, 2, 2], [8.0, 8.0, 6.0]),  # two losses in each step
        ([8.0] * 3 + [8.0] * 4 + [4.0], [1] * 3 + [4] * 4 + [2], [8.0] * 8),  # k grows
        ([8.0] * 8 + [4.0] + [8.0] * 3, [4] * 5 + [8] * 3 + [4] + [8] * 3, [8.0] * 12),
        ([8.0, 8.0, 6.0], [4, 4, 0], [8.0, 8.0, 6.0]),  # given by the user
        ([8.0, 6.0, 8.0], [NAN, 3, 4], [8.0, 8.0, 8.0]),
        ([8.0, NAN, np.inf], [4, 3, 2], [8.0, NAN, np.inf]),
        ([], [], []),
    ],
)  # fmt: skip
def test_a_loss_is_scaled_to_the_usual_count(losses, counts, expected) -> None:
    """The loss of an incomplete group becomes the mean of its batches; other losses are
    unchanged.
    """
    found = mean_losses(np.array(losses, dtype=float), np.array(counts, dtype=float))

    np.testing.assert_allclose(found, expected, rtol=1e-15)


@given(st.data(), st.integers(1, 64), st.integers(2, 9), st.integers(1, 20))
def test_any_epoch_length(data, batches: int, k: int, epochs: int) -> None:
    """For every epoch length with a complete group, the sums of `loss / k` become the true
    means.
    """
    losses = np.array(data.draw(st.lists(st.floats(0.1, 10.0), min_size=batches, max_size=batches)))
    groups = [losses[at : at + k] for at in range(0, batches, k)] * epochs
    sums = np.array([group.sum() / k for group in groups])
    counts = np.array([float(group.size) for group in groups])
    found = mean_losses(sums, counts)

    if batches >= k:
        np.testing.assert_allclose(found, [group.mean() for group in groups], rtol=1e-12)
    else:
        assert found is sums


@given(st.lists(st.floats(), max_size=20), st.integers(0, 9))
def test_constant_counts_change_no_bit(losses, count: int) -> None:
    """With constant or unknown counts, losses stay bit-identical."""
    values = np.array(losses)

    assert mean_losses(values, np.full(len(losses), float(count))) is values
    assert mean_losses(values, None) is values


@pytest.mark.parametrize("prefix", ["", "D/"])
def test_all_figures_of_a_run_are_of_means(make_history, prefix: str) -> None:
    """Final value, best value, target, curves and a tracker's final metrics all use the mean
    losses.
    """
    columns = {f"{prefix}loss": SUMS, f"{prefix}loss_count": COUNTS, "val_loss": SUMS}
    history = make_history(columns, prefix=prefix)
    summary = summarise(history, "loss", "min", 6.5)
    (panel,) = [
        panel
        for panel in curves_of(compare_histories([history], experiment="e", metric="loss")).panels
        if panel.metric == "loss"
    ]

    assert (summary.final, summary.best, summary.target_step) == (8.0, 8.0, None)
    assert panel.bundles[0].mean.tolist() == MEANS
    assert series(history, "val_loss")[1].tolist() == SUMS
    assert run_metrics(pa.table(columns), prefix) == {
        f"{prefix}loss_final": 8.0,
        f"{prefix}loss_best": 8.0,
    }


def test_another_blocks_counts_are_not_used(make_history) -> None:
    """In a run of several optimizers, each loss uses the count of its own prefix, if there is
    one.
    """
    columns = {"D/loss": SUMS, "loss": SUMS, "loss_count": COUNTS}
    history = make_history(columns, prefix="D/", schedule=Schedule("constant"))

    assert series(history, "loss")[1].tolist() == SUMS
