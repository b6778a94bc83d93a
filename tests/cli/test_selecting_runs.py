"""`--last`, `--since`, `--sort`, positional experiments and the metric by default."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from lrtrack.schedules import Schedule

LOCAL = ("--tracker", "local")


@pytest.fixture
def three(journal: Callable[..., str]) -> None:
    """Three runs of `digits`, a second apart, the oldest the best one, and one of `more`."""
    for seed in range(3):
        journal(Schedule("StepLR"), [1.0, 0.1 + seed], seed, started=100.0 + seed)
    journal(Schedule("StepLR"), [1.0, 0.5], 7, started=50.0, experiment="more")


def seeds(lrtrack, *arguments: str) -> list[int]:
    """The seeds of the runs that are listed, in their order."""
    result = lrtrack("runs", *LOCAL, "--format", "json", *arguments)
    assert result.exit_code == 0, result.stderr
    return [run["seed"] for run in json.loads(result.stdout)["runs"]]


@pytest.mark.usefixtures("three")
def test_runs(lrtrack):
    """The list can be shortened, sorted, and made of several experiments."""
    assert seeds(lrtrack, "digits") == [2, 1, 0]
    assert seeds(lrtrack, "digits", "--last", "2") == [2, 1]
    assert seeds(lrtrack, "digits", "--since", "1970-01-01T00:01:41+00:00") == [2, 1]
    assert seeds(lrtrack, "digits", "--sort", "final") == [0, 1, 2]
    assert seeds(lrtrack, "digits", "--sort", "-started") == [2, 1, 0]
    assert seeds(lrtrack, "more", "digits") == [2, 1, 0, 7]
    assert seeds(lrtrack, "digits", "--experiment", "more", "--last", "1") == [2, 7]


@pytest.mark.usefixtures("three")
def test_compare(lrtrack):
    """A comparison counts only the last runs, and its rows can be sorted."""
    last = lrtrack("compare", *LOCAL, "digits", "--last", "2", "--format", "json")
    rows = lrtrack("compare", *LOCAL, "digits", "--group-by", "seed", "--sort", "-final",
                   "--format", "json")  # fmt: skip

    assert json.loads(last.stdout)["schedules"][0]["runs"] == 2
    assert [item["rank"] for item in json.loads(rows.stdout)["schedules"]] == [3, 2, 1]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("command", ["runs", "compare"])
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--last", "0"), 2, "last must be a number of runs, at least 1; got 0. Fix:"),
        (("--last", "few"), 2, "'few' is not a valid integer"),
        (("--since", "7x"), 2, "since must be a span or a date, got '7x'. Fix: write a span"),
        (("--since", "2100-01-01"), 2, "is in the future"),
        (("--since", "1h"), 1, "No run of experiment 'digits' started since 1h; the last one"),
        (("--sort", "fnal"), 2, "Unknown field to sort by 'fnal'"),
    ],
)  # fmt: skip
def test_bad_values(lrtrack, command, arguments, status, message):
    """A value that makes no sense is named, with the right exit status and nothing on stdout."""
    result = lrtrack(command, *LOCAL, "digits", *arguments)

    assert (result.exit_code, result.stdout) == (status, "")
    assert message in result.stderr


@pytest.mark.parametrize("command", ["runs", "compare"])
def test_the_metric_by_default(lrtrack, journal, command, monkeypatch):
    """Without `--metric`, stderr says which metric the report is about, stdout only has it."""
    from lrtrack.journal.writer import JournalWriter

    append = JournalWriter.append
    monkeypatch.setattr(
        JournalWriter,
        "append",
        lambda self, step, when, metrics: append(
            self, step, when, {"eval_loss": metrics["loss"], "train_loss": 2.0, "lr": 0.1}
        ),
    )
    journal(Schedule("StepLR"), [1.0, 0.5])
    found = lrtrack(command, *LOCAL, "digits", "--format", "json")
    named = lrtrack(command, *LOCAL, "digits", "--format", "json", "--metric", "train_loss")

    assert json.loads(found.stdout)["metric"] == "eval_loss"
    assert "this is about eval_loss. The runs also have train_loss:" in found.stderr
    assert (json.loads(named.stdout)["metric"], named.stderr) == ("train_loss", "")
