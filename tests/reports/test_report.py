"""Text, columns and number formats of reports."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.errors import clean
from lrtrack.reports.formatting import mean_std, number, places, rate, short_labels, some
from lrtrack.reports.report import report_of
from lrtrack.reports.table import Tone
from lrtrack.schedules import Schedule
from lrtrack.stats import Spread, compare_histories


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0.0, "0"),
        (0.123456, "0.1235"),
        (-0.5, "-0.5000"),
        (1.0, "1.000"),
        (12345.6, "12346"),
        (0.000012345, "1.234e-05"),
        (1e9, "1.000e+09"),
    ],
)
def test_numbers_have_four_significant_digits(value, expected):
    """Numbers have four significant digits, and exponents only if very small or large."""
    assert expected == number(value)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.1, "0.1"), (30.0, "30"), (1e-5, "1e-05"), (0.00312, "0.00312")]
)
def test_trimmed_numbers(value, expected):
    """Trimmed numbers have no trailing zeros."""
    assert expected == number(value, trim=True)


@pytest.mark.parametrize(("value", "expected"), [(None, "–"), (812.4, "812"), (3.14159, "3.14")])
def test_rates(value, expected):
    """Large rates are whole numbers."""
    assert expected == rate(value)


def test_mean_and_deviation():
    """The deviation has the mean's decimals, or its own if it would be rounded to zero."""
    spread = Spread(0.1234, 0.012, None, None, None, None, ())
    small = Spread(0.1234, 0.0000012, None, None, None, None, ())

    assert mean_std(spread, 3) == "0.123 ± 0.012"
    assert mean_std(small, 3) == "0.123 ± 1.2e-06"
    assert mean_std(spread) == "0.1234 ± 0.012"


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.5, 0.06], 4), ([0.5, 0.005], None), ([12.0, 3.0, None], 2), ([], None), ([1e-9], None)],
)
def test_decimals_of_a_column(values, expected):
    """A column has one number of decimals as long as every value keeps three digits."""
    assert expected == places(values)


def test_some_names():
    """A few names are joined, and more are counted."""
    assert some(["a"]) == "a"
    assert some(["a", "b"]) == "a and b"
    assert some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07name", "name"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("two\nlines\tand\r\x00more", "two lines and more"),
        ("right\u202eleft\u200b", "rightleft"),
        ("\udc80lone", "lone"),
        ("[bold]kept[/bold]", "[bold]kept[/bold]"),
    ],
)
def test_clean(text, expected):
    """Escape sequences, control and invisible characters are removed; markup is kept."""
    assert expected == clean(text)


@given(st.text())
def test_clean_text_steers_nothing(text):
    """Cleaned text is printable, on one line, and unchanged by cleaning it again."""
    found = clean(text)

    assert found.isprintable() or not found or all(c.isprintable() or ord(c) > 159 for c in found)
    assert found == clean(found)


def test_short_labels_hold_what_tells_schedules_apart():
    """Short labels have only parameters that differ, and the names of inner schedules."""
    one, other = (
        Schedule("SequentialLR", {"schedulers": [{"name": "A", "x": 1}, {"name": "B", "y": y}]})
        for y in (1, 2)
    )
    step = Schedule("StepLR", {"gamma": 0.1})
    found = short_labels([(item.label, item) for item in (one, other, step)])

    assert list(found.values()) == [
        "SequentialLR(A → B(y=1))",
        "SequentialLR(A → B(y=2))",
        "StepLR",
    ]


def test_short_labels_of_other_structures_need_no_parameters():
    """Chains of different schedules need no parameters in their short labels."""
    warm, flat = (
        Schedule("SequentialLR", {"schedulers": [{"name": name, "n": 3}, {"name": "B", "t": n}]})
        for n, name in enumerate(("LinearLR", "ConstantLR"))
    )

    assert [*short_labels([(item.label, item) for item in (warm, flat)]).values()] == [
        "SequentialLR(LinearLR → B)",
        "SequentialLR(ConstantLR → B)",
    ]


def test_short_labels_name_a_functions_settings_once():
    """A partial's keyword arguments are shown as parameters, and not again in its text."""
    one, other, cosine = (
        Schedule("LambdaLR", {"lr_lambda": f"optim.{name}(warmup={warmup})", "warmup": warmup})
        for name, warmup in (("linear", 1), ("linear", 2), ("cosine", 1))
    )

    assert [*short_labels([(item.label, item) for item in (one, other)]).values()] == [
        "LambdaLR(warmup=1)",
        "LambdaLR(warmup=2)",
    ]
    assert [*short_labels([(item.label, item) for item in (one, cosine)]).values()] == [
        "LambdaLR(lr_lambda=optim.linear(warmup=1))",
        "LambdaLR(lr_lambda=optim.cosine(warmup=1))",
    ]


def test_short_labels_stay_apart():
    """Labels whose short forms would be equal stay whole; other fields follow the schedule."""
    step = Schedule("StepLR", {"gamma": 0.1})
    rates = [(f"{step.label}, optimizer.lr={rate}", step) for rate in (0.1, 0.2)]
    mixed = [("StepLR", None)]

    assert list(short_labels(rates).values()) == [
        "StepLR, optimizer.lr=0.1",
        "StepLR, optimizer.lr=0.2",
    ]
    assert {"StepLR", step.label} == set(short_labels([*mixed, (step.label, step)]).values())


def test_ranks_and_means_may_differ(add, histories):
    """A note says that ranks follow the medians, if the means are in another order."""
    for seed, (step, cosine) in enumerate([(0.1, 0.2), (0.1, 0.2), (0.7, 0.2)]):
        add(Schedule("StepLR"), [step], seed=seed)
        add(Schedule("CosineAnnealingLR"), [cosine], seed=seed)
    found = compare_histories(histories(), experiment=None, metric="loss")
    note = next(note for note in report_of(found).footnotes if "median" in note)

    assert [item.schedule for item in found.schedules] == ["StepLR", "CosineAnnealingLR"]
    assert note == (
        "Ranks follow the median over runs, with divergence as the worst value; the means may be "
        "in another order."
    )


def test_the_report_of_a_comparison(comparison):
    """The report has a title, a headline, rows and notes."""
    report = report_of(comparison)
    best = [cell.text for cell in report.rows[0]]

    assert report.title == "digits · loss (lower is better) · 6 schedules, 18 runs"
    assert report.headline == (
        "constant has the lowest final loss: 0.1100 [0.0888, 0.1312], 3 seeds; "
        "5 others are worse by 0.100 or more; OneCycleLR diverged in 1 of 3 runs."
    )
    assert best == [
        "1", "constant", "3", "0.1100 ± 0.0100", "1", "0.125", "[0.0888, 0.1312]", "0.1000", "0.1",
        "2.00", "8.00", "–", "–", "–", "best",
    ]  # fmt: skip
    assert (
        "* StepLR(step_size=30): 1 of 3 runs not finished, not counted in final."
        in report.footnotes
    )
    assert (
        "OneCycleLR: 1 of 3 runs diverged at step 1; it is excluded from the mean."
        in report.footnotes
    )
    assert report.warnings == ()


def test_flawed_rows_are_marked(comparison):
    """A schedule with diverged runs is marked as bad, an unfinished one has a star."""
    rows = {row[1].short: row for row in report_of(comparison).rows}

    assert (rows["OneCycleLR"][2].text, rows["OneCycleLR"][1].tone) == ("2/3", Tone.BAD)
    assert rows["OneCycleLR"][0].text == "4"
    assert rows["StepLR(step_size=30)"][2].text == "2/3*"
    assert rows["OneCycleLR"][4].text == "– (0/3)"


def test_a_schedule_that_only_diverged(add, histories):
    """If all runs diverged, the row and the headline say so."""
    add(Schedule("StepLR"), [math.nan], seed=0)
    add(Schedule("CyclicLR"), [math.nan], seed=0)
    report = report_of(compare_histories(histories(), experiment=None, metric="loss"))

    assert report.rows[0][3].text == "diverged"
    assert [row[-1].text for row in report.rows] == ["–", "–"]
    assert report.headline.startswith("No schedule has a usable final loss")


def test_told_apart_in_words(add, histories):
    """A significant difference is marked as such, and a baseline is named."""
    for seed in range(8):
        add(Schedule("StepLR"), [1.0 + seed / 100], seed=seed)
        add(Schedule("CyclicLR"), [2.0 + seed / 100], seed=seed)
    options = {"experiment": None, "metric": "loss"}
    report = report_of(compare_histories(histories(), **options))
    based = report_of(compare_histories(histories(), baseline="CyclicLR", **options))

    assert report.headline.endswith(", 8 seeds; CyclicLR is worse by 1.0000 [0.9966, 1.0034].")
    assert based.headline.endswith(
        ", 8 seeds. Against the baseline CyclicLR: StepLR is better by 1.0000 [0.9966, 1.0034]."
    )
    assert [row[-1].text for row in report.rows] == ["best", "<0.001"]
    assert [row[-1].text for row in based.rows] == ["<0.001", "base"]
    assert based.columns[-1].title == "p vs base"


def test_text_from_trackers_is_cleaned(add, histories):
    """Names, metrics and parameters bring no escape sequences into a report."""
    add(Schedule("Step\x1b[31mLR", {"mode\n": "\x1b]0;x\x07"}), [1.0], seed=0, group="\x9b2J")
    found = compare_histories(histories(), experiment="di\x1bgits", metric="loss")
    report = report_of(found)
    texts = [report.title, report.headline, *report.footnotes, *report.warnings]
    texts += [form for row in report.rows for cell in row for form in (cell.text, cell.short)]

    assert all("\x1b" not in text and "\n" not in text for text in texts)
