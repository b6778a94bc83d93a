"""`lrtrack compare` and `lrtrack runs` on real journals."""

import json
import os
import subprocess
import sys

import pytest

from lrtrack.records import Run, StepRecord
from lrtrack.schedules import Schedule

LOCAL = ("--tracker", "local", "--experiment", "digits")


def test_the_table(lrtrack, digits):
    """The comparison is on stdout, 80 columns wide, and nothing is on stderr."""
    result = lrtrack("compare", *LOCAL)

    assert (result.exit_code, result.stderr) == (0, "")
    assert "StepLR has the lowest final loss: 0.5500 [0.1157, 0.9843]" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_json(lrtrack, digits):
    """All options reach the comparison."""
    result = lrtrack(
        "compare", *LOCAL, "--format", "json", "--metric", "loss", "--mode", "max", "--target",
        "0.9", "--group-by", "name", "--baseline", "constant", "--filter", "seed=0",
    )  # fmt: skip
    found = json.loads(result.stdout)

    assert tuple(found[key] for key in ("experiment", "metric", "mode", "target")) == (
        "digits",
        "loss",
        "max",
        0.9,
    )
    assert [(item["label"], item["runs"]) for item in found["schedules"]] == [
        ("constant", 1),
        ("StepLR", 1),
    ]
    assert found["baseline"] == "constant"


@pytest.mark.parametrize(
    ("name", "start"), [("r.md", "### digits"), ("r.csv", "rank,"), ("r.json", "{"),
                        ("r.txt", "digits ·"), ("R.MARKDOWN", "### digits")]
)  # fmt: skip
def test_output_by_suffix(lrtrack, digits, clean_place, name, start):
    """The suffix decides the format; stdout stays empty."""
    result = lrtrack("compare", *LOCAL, "--output", name)

    assert (0, "", f"Wrote {name}\n") == (result.exit_code, result.stdout, result.stderr)
    assert (clean_place / name).read_text(encoding="utf-8").startswith(start)


def test_an_unknown_suffix(lrtrack, clean_place):
    """The known suffixes are named, before anything is read or written."""
    result = lrtrack("compare", *LOCAL, "--output", "r.xlsx")

    assert result.exit_code == 2
    assert "Known: .txt, .md, .markdown, .csv, .json" in result.stderr
    assert not (clean_place / "r.xlsx").exists()


def test_a_format_overrules_the_suffix(lrtrack, digits, clean_place):
    """`--format` decides where both are given."""
    result = lrtrack("compare", *LOCAL, "--output", "r.out", "--format", "csv")

    assert result.exit_code == 0
    assert (clean_place / "r.out").read_text().startswith("rank,")


def test_a_file_that_cannot_be_written(lrtrack, digits):
    """The reason is said, with exit status 1."""
    result = lrtrack("compare", *LOCAL, "--output", "missing/r.md")

    assert (
        result.exit_code,
        result.stderr,
    ) == (1, "Error: Cannot write missing/r.md: No such file or directory.\n")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--experiment", "digit"), 1, "Did you mean 'digits'"),
        ((*LOCAL[2:], "--metric", "acc"), 1, "Unknown metric 'acc'. Available: loss, lr."),
        ((*LOCAL[2:], "--group-by", "optimiser"), 2, "Unknown field to group by"),
        ((*LOCAL[2:], "--baseline", "x"), 2, "Unknown baseline 'x'"),
        ((*LOCAL[2:], "--tracker", "locl"), 2, "Unknown tracker 'locl'. Did you mean 'local'?"),
        ((*LOCAL[2:], "--mode", "least"), 2, "least"),
        ((*LOCAL[2:], "--filter", "seed=9"), 1, "There are no runs to compare"),
        ((*LOCAL[2:], "--filter", "params.seed = '0'"), 2, "or use --filter-raw"),
        ((*LOCAL[2:], "--filter", "device = cpu"), 2, "write device.type or device.name instead"),
        ((*LOCAL[2:], "--filter-raw", "seed=9"), 2, "has no filter language of its own"),
        ((*LOCAL[2:], "--group-by", "device"), 2, "write device.type or device.name instead"),
    ],
)
def test_bad_input(lrtrack, digits, arguments, status, message):
    """One message that helps, the right exit status, nothing on stdout."""
    result = lrtrack("compare", "--tracker", "local", *arguments)

    assert (status, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json"])
def test_warnings_in_every_format(lrtrack, journal, form):
    """What makes the runs unlike is said wherever they are compared, a restart among it."""
    losses = [1.0, 0.5]
    journal(Schedule("StepLR"), losses, config={"batch_size": 32}, device_type="cuda")
    journal(Schedule("constant"), losses[:1], config={"batch_size": 64})
    journal(Schedule("constant"), losses, config={"batch_size": 64}, name="again")
    found = lrtrack("compare", *LOCAL, "--format", form).stdout

    for code in ("budget-differs", "mixed-devices", "setup-differs", "duplicate-seeds"):
        assert code in found


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json"])
def test_no_runs(lrtrack, digits, form):
    """Without runs there is no report in any format: exit status 1, and the reason."""
    result = lrtrack("compare", *LOCAL, "--filter", "seed=9", "--format", form)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: There are no runs to compare in experiment 'digits'.\n"


@pytest.mark.parametrize(
    ("form", "sign"), [("table", b"0.5500 +/- 0.0707"), ("markdown", "0.5500 ± 0.0707".encode())]
)
def test_a_stdout_without_unicode(digits, form, sign):
    """The table falls back to ASCII; formats for machines and pages are always UTF-8."""
    run = subprocess.run(
        [sys.executable, "-c", "from lrtrack.cli import main; main()", "compare", *LOCAL,
         "--format", form],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "100"},
        capture_output=True, check=True,
    )  # fmt: skip

    assert sign in run.stdout


def test_runs(lrtrack, journal):
    """Runs are listed with schedule, seed, state, steps and final value."""
    run_id = journal(Schedule("StepLR", {"step_size": 30}), [1.0, 0.5], 3, device_name="Tesla")
    table = lrtrack("runs", *LOCAL).stdout
    found = json.loads(lrtrack("runs", *LOCAL, "--format", "json").stdout)["runs"]

    assert "StepLR-3  StepLR(step_size=30)" in table
    assert [(run_id, 3, "Tesla", "FINISHED", 2, 0.5)] == [
        tuple(run[key] for key in ("id", "seed", "device", "state", "steps", "final"))
        for run in found
    ]


def test_runs_into_a_file(lrtrack, digits, clean_place):
    """A CSV has one row a run; Markdown is no format of this command."""
    written = lrtrack("runs", *LOCAL, "--output", "runs.csv")
    refused = lrtrack("runs", *LOCAL, "--output", "runs.md")

    assert (written.exit_code, refused.exit_code) == (0, 2)
    assert len((clean_place / "runs.csv").read_text().splitlines()) == 5


def test_runs_of_nothing(lrtrack):
    """Without runs there is nothing to list: exit status 1."""
    result = lrtrack("runs", "--tracker", "local")

    assert (result.exit_code, result.stderr) == (1, "Error: There are no runs to list.\n")


def test_python_and_command_agree(lrtrack, digits):
    """`lrtrack.compare()` gives what the command writes."""
    from lrtrack import compare

    found = json.loads(lrtrack("compare", *LOCAL, "--format", "json").stdout)

    assert found == compare("digits", tracker="local").to_dict()


def test_a_run_in_two_trackers_counts_once(journal):
    """Of a run that two trackers have, the one with more steps is believed."""
    from lrtrack.comparing import compare, fetch
    from lrtrack.trackers.memory import MemoryTracker

    schedule = Schedule("StepLR", {"step_size": 30})
    run_id = journal(schedule, [1.0, 0.5])
    memory = MemoryTracker()
    run = Run(id=run_id, name="StepLR-0", schedule=schedule, seed=0)
    sink = memory.sink(run, memory.target("digits"), None)
    sink.write([StepRecord(0, 100.0, {"loss": 1.0})], doubt=False)
    seen = []
    found = fetch("digits", tracker=["local", memory], progress=lambda *at: seen.append(at))

    assert [(item.tracker, item.steps.size) for item in found] == [("local", 2)]
    assert seen == [(1, 1), (1, 1)]
    assert compare("digits", tracker=["local", memory]).schedules[0].runs == 1


def test_one_of_several_trackers_may_lack_the_experiment(digits):
    """Only where no tracker has it is nothing found."""
    from lrtrack.comparing import fetch
    from lrtrack.errors import NothingFound
    from lrtrack.trackers.memory import MemoryTracker

    assert len(fetch("digits", tracker=["local", MemoryTracker()])) == 4
    with pytest.raises(NothingFound, match=r"Unknown experiment 'x'.*Unknown experiment 'x'"):
        fetch("x", tracker=["local", MemoryTracker()])


def test_the_experiment_of_the_project(lrtrack, digits, clean_place):
    """Without options, `[tool.lrtrack]` says where to look."""
    text = '[tool.lrtrack]\ntracker = "local"\nexperiment = "digits"\n'
    (clean_place / "pyproject.toml").write_text(text)
    found = json.loads(lrtrack("compare", "--format", "json").stdout)

    assert (found["experiment"], len(found["schedules"])) == ("digits", 2)


def test_publishing_needs_a_tracker_that_keeps_reports(lrtrack, digits):
    """The local tracker writes nothing: said before anything is read, with what to do instead."""
    result = lrtrack("compare", *LOCAL, "--publish")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Cannot publish to 'local'" in result.stderr
    assert "--output report.md" in result.stderr


def test_publishing(lrtrack, digits, store, monkeypatch):
    """The report is printed as ever, and the run that has it is named on stderr."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    number = mlflow.MlflowClient(store).create_experiment("digits")
    both = ("--tracker", "local", "--tracker", "mlflow", "--experiment", "digits")
    plain = lrtrack("compare", *both)
    result = lrtrack("compare", *both, "--publish")
    (run,) = mlflow.MlflowClient(store).search_runs([number])

    assert (0, plain.stdout) == (result.exit_code, result.stdout)
    said = f"Published to mlflow: run {run.info.run_id}, named 'lrtrack report'\n"
    assert said == result.stderr


def test_a_report_that_cannot_be_published_is_still_shown(lrtrack, digits, store, monkeypatch):
    """Exit status 1 and the reason, after the report."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    both = ("--tracker", "local", "--tracker", "mlflow", "--experiment", "digits")
    result = lrtrack("compare", *both, "--publish")

    assert result.exit_code == 1
    assert "StepLR has the lowest final loss" in result.stdout
    assert "Error: Not published: Unknown experiment 'digits'" in result.stderr
    assert "Traceback" not in result.stderr
