"""The data frames of a comparison, cell by cell."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pytest

from lrtrack.errors import UsageError

nan = np.nan


def test_histories(small):
    """`histories_frame` has one row per run and step, and metrics without the run's prefix."""
    label = small.schedules[1].label
    expected = pd.DataFrame(
        {
            "run_id": ["a", "a", "b", "b", "c", "c", "c"],
            "label": ["CosineAnnealingLR(T_max=2)"] * 4 + [label] * 3,
            "schedule": ["CosineAnnealingLR"] * 4 + ["SequentialLR"] * 3,
            "seed": pd.array([0, 0, 1, 1, None, None, None], dtype="Int64"),
            "step": [0, 1, 0, 1, 0, 1, 2],
            "time": [100.0, 100.5, 100.0, 100.5, 100.0, 100.5, 101.0],
            "seconds": [0.0, 0.5, 0.0, 0.5, 0.0, 0.5, 1.0],
            "loss": [1.0, 0.5, 1.0, 0.25, 2.0, nan, 4.0],
            "lr": [0.1] * 7,
            "val_loss": [nan, 0.7, nan, nan, nan, nan, nan],
        }
    ).astype({"run_id": "str", "label": "str", "schedule": "str"})

    pd.testing.assert_frame_equal(expected, small.histories_frame())


@pytest.mark.parametrize("metrics", ["val_loss", ["val_loss"]])
def test_only_the_requested_metrics(small, metrics):
    """The requested metrics are the only columns, and steps without any of them are dropped."""
    frame = small.histories_frame(metrics)

    columns = ["run_id", "label", "schedule", "seed", "step", "time", "seconds", "val_loss"]
    assert list(frame) == columns
    assert frame[["run_id", "step", "val_loss"]].to_numpy().tolist() == [["a", 1, 0.7]]


def test_a_recorded_nan_keeps_its_row(small):
    """A step whose loss is NaN keeps its row, unlike a step without a loss."""
    frame = small.histories_frame(["loss"])

    assert frame["step"].tolist() == [0, 1, 0, 1, 0, 1, 2]
    assert np.isnan(frame["loss"][5])


def test_an_unknown_metric(small):
    """A metric that no run has is an error with the nearest name."""
    with pytest.raises(UsageError, match="Unknown metric 'los'"):
        small.histories_frame(["lr", "los"])


def test_runs(small):
    """`runs_frame` has the identity and figures of each run, with dtypes for missing values."""
    frame = small.runs_frame()

    assert list(frame)[:12] == [
        "label", "run_id", "name", "schedule", "seed", "group", "device.type", "device.name",
        "state", "tracker", "url", "started",
    ]  # fmt: skip
    assert frame["run_id"].tolist() == ["a", "b", "c"]
    assert frame["name"].tolist() == ["run a", "run b", "run c"]
    assert frame["url"].tolist() == ["http://host/a", "http://host/b", "http://host/c"]
    pd.testing.assert_series_equal(
        pd.Series([0, 1, None], dtype="Int64", name="seed"), frame["seed"]
    )
    assert frame["steps"].tolist() == [2, 2, 3]
    assert frame["final"].tolist() == [0.5, 0.25, 4.0]
    assert frame["diverged"].tolist() == [False, False, True]
    assert str(frame["target_second"].dtype) == "float64"
    assert str(frame["target_step"].dtype) == "Int64"


def test_settings_of_runs(small):
    """Parameters are columns with dotted names, also those of inner schedules and mappings."""
    first, second, third = small.runs_frame().to_dict("records")

    assert (first["scheduler.name"], first["scheduler.T_max"]) == ("CosineAnnealingLR", 2)
    assert first["config.data.size"] == 9
    assert (second["optimizer.name"], second["optimizer.lr"]) == ("SGD", 0.1)
    assert third["scheduler.schedulers.0.name"] == "LinearLR"
    assert third["scheduler.schedulers.1.factor"] == 1
    assert third["scheduler.milestones"] == [1]
    assert third["tags.who"] == "me"
    assert pd.isna(third["config.data.size"])


def test_schedules(small):
    """`schedules_frame` has one row per schedule, with the column names of the CSV format."""
    frame = small.schedules_frame()
    header = next(csv.reader(io.StringIO(small.to_csv())))
    best = small.schedules[0]

    assert {"rank", "final_mean", "final_ci95_low", "grad_norm_p95"} <= set(header) & set(frame)
    assert frame["rank"].tolist() == [1, 2]
    assert frame["label"][0] == best.label == "CosineAnnealingLR(T_max=2)"
    assert frame["final_mean"][0] == best.final.mean == 0.375
    assert frame["final_values"][0] == [0.5, 0.25]
    assert np.isnan(frame["final_mean"][1])
    assert str(frame["final_ci95_low"].dtype) == "float64"
    assert frame["params"][0] == {"T_max": 2}
    assert frame["run_ids"].tolist() == [["a", "b"], ["c"]]


def test_differences_are_columns(small):
    """The difference to the best has columns, with NaN for the best itself; what was not asked for
    has none.
    """
    frame = small.schedules_frame()

    assert {"vs_best_difference", "vs_best_ci95_low", "vs_best_p", "could_be_best"} <= set(frame)
    assert frame["vs_best_difference"].isna().tolist() == [True, True]
    assert not {"vs_best", "tuning", "tasks", "across", "equivalent"} & set(frame)
