"""Extreme comparisons in every format."""

import csv
import io
import json
import math

import pytest
from rich.cells import cell_len

from lrtrack.records import State
from lrtrack.reports import csvtext, jsontext, markdown, terminal
from lrtrack.reports.report import report_of
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

STEP, CYCLE = Schedule("StepLR", {"step_size": 30}), Schedule("OneCycleLR", {"max_lr": 0.1})
CURVE = [2.0, 1.0, 0.5, 0.25]


def _many(add, schedules, curve=CURVE, seeds=3):
    for at, schedule in enumerate(schedules):
        for seed in range(seeds):
            add(schedule, [value + at + seed / 10 for value in curve], seed=seed)


def _one_run(add):
    add(STEP, CURVE, seed=0)


def _one_seed(add):
    _many(add, (STEP, CYCLE), seeds=1)


def _one_step(add):
    _many(add, (STEP, CYCLE), curve=[1.0])


def _all_equal(add):
    for schedule in (STEP, CYCLE):
        for seed in range(3):
            add(schedule, [0.5] * 4, seed=seed)


def _all_diverged(add):
    _many(add, (STEP, CYCLE), curve=[1.0, math.nan])


def _lengths(add):
    for seed in range(3):
        add(STEP, [0.5 + seed] * (4 + seed), seed=seed)
        add(CYCLE, [0.7 + seed] * 9, seed=seed)


def _going_on(add):
    _many(add, (CYCLE,))
    for seed in range(3):
        add(STEP, CURVE, seed=seed, state=State.FINISHED if seed else State.RUNNING)


def _one_schedule(add):
    _many(add, (STEP,))


def _sixty(add):
    _many(add, [Schedule("StepLR", {"step_size": at}) for at in range(60)])


def _long_names(add):
    _many(
        add,
        [Schedule("x" * 200), Schedule("余弦退火学习率" * 30), Schedule("S", {"名": "字" * 200})],
    )


def _lacking(add):
    _many(add, (STEP,))
    add(CYCLE, [], seed=0)
    add(STEP, [], seed=9)


CASES = {
    "one run": _one_run, "one seed": _one_seed, "one step": _one_step, "all equal": _all_equal,
    "all diverged": _all_diverged, "lengths": _lengths, "going on": _going_on,
    "one schedule": _one_schedule, "sixty": _sixty, "long names": _long_names,
    "lacking": _lacking,
}  # fmt: skip


@pytest.fixture(params=CASES)
def edge(request, add, histories):
    """A comparison with a target that no run reaches, and its number of schedules."""
    CASES[request.param](add)
    options = {"experiment": "edge", "metric": "loss", "target": -5.0}
    return compare_histories(histories(), **options)


@pytest.mark.parametrize("width", [80, 200])
def test_tables(edge, width):
    """No table is wider than the terminal, and it has a row per schedule and a line per warning."""
    report = report_of(edge)
    lines = terminal.text(report, width).splitlines()

    assert max(map(cell_len, lines)) <= width
    rule = next(at for at, line in enumerate(lines) if line.startswith("───"))
    starts = [line for line in lines[rule + 1 : lines.index("", rule)] if line[:3].strip(" =")]
    assert len(edge.schedules) == len([line for line in starts if line.split()[0][0].isdigit()])
    told = [*report.warnings, *report.diagnoses]
    assert len(told) == sum(line.startswith("! ") for line in lines)


def test_machine_formats(edge):
    """JSON is strict, CSV has one row per schedule, and both contain the warnings."""
    data = json.loads(jsontext.render(edge), parse_constant=pytest.fail)
    rows = list(csv.DictReader(io.StringIO(csvtext.render(edge))))

    assert len(edge.schedules) == len(data["schedules"]) == len(rows)
    assert sum(item.runs for item in edge.schedules) == len(data["runs"])
    codes = [item.code for item in edge.warnings]
    assert codes == [item["code"] for item in data["warnings"]]
    for row in rows:
        assert all(code + ": " in row["warnings"] for code in codes)
        assert (row["steps_to_target_reached"], row["steps_to_target_median"]) == ("0", "")


def test_markdown(edge):
    """Markdown has one row per schedule, all with the same cells, and the warnings in a box."""
    report = report_of(edge)
    lines = markdown.render(report).splitlines()
    table = [line for line in lines if line.startswith("|")]

    assert len(edge.schedules) + 2 == len(table)
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1
    told = [*report.warnings, *report.diagnoses]
    assert len(told) == sum(line.startswith("> - ") for line in lines)


def test_a_target_that_none_reached(add, histories):
    """A target that no run reached has no median, and the table says how many runs there are."""
    _many(add, (STEP, CYCLE))
    options = {"experiment": None, "metric": "loss", "target": 0.01}
    report = report_of(compare_histories(histories(), **options))
    at = [column.title for column in report.columns].index("steps to 0.01")

    assert [row[at].text for row in report.rows] == ["– (0/3)", "– (0/3)"]
    assert [row[at + 1].text for row in report.rows] == ["– (0/3)", "– (0/3)"]


def test_times_of_mixed_devices_are_flagged(add, histories):
    """Columns with times have a mark and a note only if devices differ."""
    for schedule, device in ((STEP, "cpu"), (CYCLE, "cuda")):
        add(schedule, CURVE, seed=0, device_type=device)
    options = {"experiment": None, "metric": "loss", "target": 0.3}
    mixed = report_of(compare_histories(histories(), **options))
    titles = {column.title for column in mixed.columns}

    assert {"steps to 0.3", "seconds to 0.3 †", "steps/s †"} <= titles
    assert any(note.startswith("†: measured on different devices") for note in mixed.footnotes)
    assert "†:" not in terminal.text(mixed, 60)
    assert "†:" in terminal.text(mixed, 200)


def test_ties_are_shown_as_ties(add, histories):
    """A shared rank is marked with "=" and the second schedule's verdict is a tie."""
    _all_equal(add)
    add(Schedule("LinearLR"), [0.6], seed=0)
    report = report_of(compare_histories(histories(), experiment=None, metric="loss"))

    assert [row[0].text for row in report.rows] == ["1=", "1=", "3"]
    assert [row[-1].text for row in report.rows] == ["best", "tie", "–"]


def test_the_long_form_where_there_is_room(add, histories):
    """A very narrow table shows only the difference, one of 80 columns its interval too."""
    for seed in range(3):
        add(STEP, [1.0 + seed / 10], seed=seed)
        add(CYCLE, [2.0 + seed * seed / 10], seed=seed)
    report = report_of(compare_histories(histories(), experiment=None, metric="loss"))
    narrow, wide = (terminal.text(report, width).split("\n\n")[1] for width in (50, 80))

    assert "1.07" in narrow
    assert "[0.78, 1.35]" not in narrow
    assert "1.07 [0.78, 1.35]" in wide


@pytest.mark.parametrize(("seeds", "explained"), [(1, 0), (2, 1), (3, 1)])
def test_intervals_are_explained(add, histories, seeds, explained):
    """Intervals have a note that explains them; without intervals there is no column."""
    _many(add, (STEP, CYCLE), seeds=seeds)
    report = report_of(compare_histories(histories(), experiment=None, metric="loss"))

    assert explained == sum(note.startswith("[low, high]: 95 %") for note in report.footnotes)
    assert explained == [column.title for column in report.columns].count("95 % CI")


def test_the_best_of_many_is_marked(add, histories):
    """The mean of a schedule that was chosen among several equally good ones has a note."""
    for at in range(4):
        for seed in range(3):
            loss = 1.0 + (at + 1) * (seed - 1) ** 2 / 10
            add(Schedule("StepLR", {"step_size": at}), [loss], seed=seed)
    report = report_of(compare_histories(histories(), experiment=None, metric="loss"))

    assert any(note.startswith("The first schedule is the best of 4") for note in report.footnotes)


def test_many_flaws_are_counted(add, histories):
    """Sixty diverged schedules do not make sixty notes."""
    _many(add, [Schedule("StepLR", {"step_size": at}) for at in range(60)], curve=[1.0, math.nan])
    report = report_of(compare_histories(histories(), experiment=None, metric="loss"))

    assert sum("diverged" in note for note in report.footnotes) == 6
    assert "… and 54 more such notes." in report.footnotes


def test_figures_of_four_runs(add, histories):
    """From four runs on, table and CSV have the interquartile mean."""
    _many(add, (STEP, CYCLE), seeds=4)
    comparison = compare_histories(histories(), experiment=None, metric="loss")
    report = report_of(comparison)
    at = [column.title for column in report.columns].index("IQM")
    row = next(csv.DictReader(io.StringIO(csvtext.render(comparison))))

    assert [cells[at].text for cells in report.rows] == ["0.400", "1.400"]
    assert float(row["final_iqm"]) == pytest.approx(0.4)
    assert json.loads(row["seeds"]) == [0, 1, 2, 3]
    assert (row["verdict"], row["p_improvement"], row["spikes"]) == ("best", "", "0")
