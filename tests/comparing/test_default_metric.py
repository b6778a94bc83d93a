"""The metric of a report for which the user names none."""

from __future__ import annotations

import pytest

import lrtrack
from lrtrack import History
from lrtrack.comparing.default_metric import Choice, announce, choose


def run(*metrics: str, values: int = 1) -> History:
    """A run with these metrics."""
    return History.from_series("cosine", {name: [1.0] * values for name in metrics})


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([run("loss", "val_loss", "lr")], Choice("loss", ("val_loss",))),
        ([run("loss"), run("val/loss"), run("val/loss")], Choice("loss", ("val/loss",))),
        ([run("train/loss", "eval/loss", "train/learning_rate")],
         Choice("eval/loss", ("train/loss",))),
        ([run("train_loss"), run("train_loss", "eval_loss")],
         Choice("train_loss", ("eval_loss",))),
        ([run("valLoss", "accuracy", "loss_count")], Choice("valLoss", ("accuracy",))),
        ([run("a/loss", "b/loss")], Choice("a/loss", ("b/loss",))),
        ([run("Loss/train", "Loss/test", "lr")], Choice("Loss/test", ("Loss/train",))),
        ([run("accuracy", "train_runtime", "lr")], Choice("loss", ("accuracy",), exists=False)),
        ([run("lr", "lr-AdamW", "grad_norm", "grad_norm/0", "epoch", "loss")], Choice("loss", ())),
        ([run("training_losses")], Choice("loss", ("training_losses",), exists=False)),
        ([], Choice("loss", (), exists=False)),
    ],
)  # fmt: skip
def test_which_metric(runs: list[History], expected: Choice) -> None:
    """`loss`, else the loss that most runs have, on held-out data first."""
    assert choose(runs) == expected


def test_the_metric_with_more_values_comes_first() -> None:
    """Of losses that equally many runs have, the one with more values is the curve."""
    history = History.from_series("cosine", {"last_loss": [None, 1.0], "step_loss": [2.0, 1.0]})

    assert choose([history]).metric == "step_loss"


def test_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """One line names the metric, a few others, and the option; without others it is silent."""
    announce(Choice("loss", ()))
    announce(Choice("loss", ("accuracy",), exists=False))
    announce(Choice("loss", ("val_loss", "a", "b", "c", "d", "e", "f")))

    assert capsys.readouterr().err == (
        "lrtrack: No metric is named, so this is about loss. The runs also have val_loss, a, b, c, "
        "d and 2 more: choose one with --metric NAME (in Python, metric=).\n"
    )


def test_a_comparison_says_its_metric(capsys: pytest.CaptureFixture[str]) -> None:
    """A report without a named metric has the chosen one in every format."""
    histories = [run("eval/loss", "train/loss", values=3) for _ in range(2)]
    comparison = lrtrack.compare(histories=histories)
    said = capsys.readouterr().err
    lrtrack.compare(histories=histories, metric="train/loss")

    assert comparison.to_dict()["metric"] == "eval/loss"
    assert "so this is about eval/loss. The runs also have train/loss:" in said
    assert capsys.readouterr().err == ""
