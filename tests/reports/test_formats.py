"""Markdown, CSV and JSON."""

import csv
import io
import json
from dataclasses import replace

import pytest

from lrtrack.records import Rewind
from lrtrack.reports import csvtext, jsontext, markdown
from lrtrack.reports.formatting import short_labels
from lrtrack.reports.report import report_of
from lrtrack.reports.runs import rows_of
from lrtrack.reports.table import Cell, Column, Report, Tone
from lrtrack.schedules import Schedule, side_by_side
from lrtrack.stats import compare_histories


def test_json_is_the_comparison(comparison):
    """The text is strict JSON of `to_dict`, in ASCII, with a newline at its end."""
    found = jsontext.render(comparison)

    assert comparison.to_dict() == json.loads(found, parse_constant=pytest.fail)
    assert found.isascii()
    assert found.endswith("}\n")


def test_csv_has_every_digit(comparison):
    """CSV has one row per schedule with unrounded numbers; missing ones are empty."""
    rows = list(csv.DictReader(io.StringIO(csvtext.render(comparison))))
    best = comparison.schedules[0]

    assert len(comparison.schedules) == len(rows)
    assert best.final.mean == float(rows[0]["final_mean"])
    assert best.final.ci95 == (float(rows[0]["final_ci95_low"]), float(rows[0]["final_ci95_high"]))
    assert (rows[0]["p_vs_best"], rows[0]["indistinguishable_from_best"]) == ("", "true")
    assert list(best.final.values) == json.loads(rows[0]["final_values"])
    assert dict(comparison.schedules[1].params) == json.loads(rows[1]["params"])
    assert best.run_ids == tuple(rows[0]["run_ids"].split())


@pytest.mark.parametrize("sign", ["=", "+", "-", "@"])
def test_csv_holds_no_formulas(add, histories, sign):
    """Text that a spreadsheet would run is quoted; negative numbers stay numbers."""
    add(Schedule(f"{sign}cmd()"), [-1.0], seed=0)
    text = csvtext.render(compare_histories(histories(), experiment=None, metric="loss"))
    row = next(csv.DictReader(io.StringIO(text)))

    assert f"'{sign}cmd()" == row["label"]
    assert row["final_mean"] == "-1.0"


def test_csv_of_runs(comparison, histories):
    """CSV has one row per run with its ids; a diverged run has no final value."""
    rows = list(csv.DictReader(io.StringIO(csvtext.render_runs(rows_of(histories(), "loss")))))
    diverged = [row for row in rows if row["diverged"] == "true"]

    assert len(rows) == 18
    assert [(row["name"], row["final"]) for row in diverged] == [("OneCycleLR-1", "")]


def test_json_of_runs(comparison, histories):
    """JSON has every field of the runs."""
    found = json.loads(jsontext.render_runs(rows_of(histories(), "loss"), "digits", "loss"))
    run = found["runs"][-1]

    assert (found["format"], found["experiment"], found["metric"]) == (1, "digits", "loss")
    assert tuple(
        run[key] for key in ("name", "schedule", "seed", "state", "steps", "final", "tracker")
    ) == ("constant-0", "constant", 0, "FINISHED", 2, 0.1, "memory")


def test_the_markdown_table(comparison):
    """The table has a heading, one row per schedule, aligned numbers and the best in bold."""
    lines = markdown.render(report_of(comparison)).splitlines()

    assert lines[0] == "### digits · loss (lower is better) · 6 schedules, 18 runs"
    assert lines[5][:21] == "| ---: | --- | ---: |"
    assert lines[6].startswith("| **1** | **constant** | 3 | **0.1100 ± 0.0100** |")
    assert sum(line.startswith("|") for line in lines) == 8


def test_markdown_has_a_box_of_warnings(add, histories):
    """Warnings stand in a box."""
    for schedule in (Schedule("StepLR"), Schedule("CyclicLR")):
        add(schedule, [1.0 if schedule.name == "StepLR" else 2.0], seed=0)
    report = report_of(compare_histories(histories(), experiment=None, metric="loss"))

    assert "> [!WARNING]" in markdown.render(report).splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("<script>", "&lt;script&gt;"),
        ("a\nb", "a b"),
        ("![x](http://y)", r"\!\[x\](http://y)"),
        ("*a* `b` ~c~ # d", r"\*a\* \`b\` \~c\~ \# d"),
        ("max_lr _a_", r"max_lr \_a\_"),
        ("\\|", r"\\\|"),
        ("@all &amp;", "&#64;all &amp;amp;"),
    ],
)
def test_markdown_is_escaped(text, expected):
    """Markup in text from trackers is escaped."""
    assert expected == markdown.escape(text)


def test_markdown_cells_stay_in_their_columns():
    """A pipe in a name does not split its cell."""
    report = Report(
        "t", "h", (Column("a", Cell), Column("b", Cell)), ((Cell("x|y", tone=Tone.BAD), Cell("z")),)
    )

    assert r"| x\|y | z |" in markdown.render(report)


def test_the_source_of_a_schedule(add, histories):
    """CSV and JSON say whether a schedule was inferred, also that of one of two optimizers."""
    inferred = Schedule("linear", {"steps": 40}, source="inferred")
    add(Schedule("StepLR", {"step_size": 3}), [1.0], seed=0)
    add(side_by_side({"a": inferred, "b": Schedule("StepLR", {"step_size": 3})}), [2.0], seed=0)
    compared = compare_histories(histories(), experiment=None, metric="loss")
    rows = list(csv.DictReader(io.StringIO(csvtext.render(compared))))

    assert [row["source"] for row in rows] == ["declared", "inferred"]
    assert [s["source"] for s in compared.to_dict()["schedules"]] == ["declared", "inferred"]
    assert rows[1]["label"].startswith("≈ linear + StepLR(a=≈ linear(steps=40)")


def test_short_labels_of_inferred_parts():
    """The sign of inferred schedules stays when a label is shortened."""
    inferred = Schedule("linear", {"steps": 40}, source="inferred")
    schedules = [side_by_side({"a": own, "b": Schedule("StepLR")}) for own in
                 (inferred, Schedule("linear", {"steps": 40}))]  # fmt: skip
    short = short_labels((schedule.label, schedule) for schedule in schedules)

    assert list(short.values()) == ["≈ linear + StepLR", "linear + StepLR"]


def test_returns_and_branches_in_the_list_of_runs(histories, comparison):
    """JSON and CSV name the abandoned steps and the parent of the runs that have them."""
    plain, other, *_ = histories()
    rewinds = (Rewind(200, 249, 1.0),)
    run = replace(other.run, rewinds=rewinds, parent="f" * 32, branched_at=150)
    rows = rows_of([plain, replace(other, run=run)], "loss")
    listed = json.loads(jsontext.render_runs(rows, "digits", "loss"))["runs"]
    table = list(csv.DictReader(io.StringIO(csvtext.render_runs(rows))))

    keys = ("rewound", "parent", "branched_at")
    assert [[run.get(key) for key in keys] for run in listed] == [
        [None, None, None], ["200-249", "f" * 32, 150]
    ]  # fmt: skip
    assert [[row[key] for key in keys] for row in table] == [
        ["", "", ""], ["200-249", "f" * 32, "150"]
    ]  # fmt: skip
