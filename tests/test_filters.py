"""Filters: how `FIELD OP VALUE` is read, and for which values it holds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrack.errors import LRTrackWarning, UsageError
from lrtrack.filters import OPERATORS, Filter, filters_of, select

ORDERED = ("<", "<=", ">", ">=")
TEXT = st.text(max_size=30)
NUMBERS = st.integers() | st.floats(allow_nan=False)
FILTERS = st.one_of(
    st.builds(Filter, TEXT.filter(bool), st.sampled_from(["=", "!="]),
              TEXT | NUMBERS | st.booleans() | st.none()),
    st.builds(Filter, TEXT.filter(bool), st.sampled_from(ORDERED), TEXT | NUMBERS),
)  # fmt: skip


@settings(deadline=None)
@given(TEXT | st.builds("{}{}{}".format, TEXT, st.sampled_from(OPERATORS), TEXT))
def test_any_text_is_a_filter_or_a_usage_error(text):
    """No text makes the parser fail in any other way, and what it reads can be written again."""
    try:
        condition = Filter.parse(text)
    except UsageError:
        return

    assert Filter.parse(str(condition)) == condition


@settings(deadline=None)
@given(FILTERS)
def test_a_filter_reads_back_as_it_was_written(condition):
    """`str()` of a filter is text that means the same."""
    assert Filter.parse(str(condition)) == condition


@pytest.mark.parametrize(
    ("text", "field", "op", "value"),
    [
        ("seed < 5", "seed", "<", 5),
        ("scheduler.max_lr>=0.1", "scheduler.max_lr", ">=", 0.1),
        ("tags.phase = warm", "tags.phase", "=", "warm"),
        ("state == FINISHED", "state", "=", "FINISHED"),
        ("schedule = warmup -> cosine", "schedule", "=", "warmup -> cosine"),
        ("device.name = NVIDIA H200", "device.name", "=", "NVIDIA H200"),
        ("config.amp != TRUE", "config.amp", "!=", True),
        ("seed = null", "seed", "=", None),
        ('config.depth = "2"', "config.depth", "=", "2"),
        ('"config.batch size" = 32', "config.batch size", "=", 32),
        ("name = 'it''s'", "name", "=", "it's"),
        (r"name ~ ^run-\d+$", "name", "~", r"^run-\d+$"),
        ("name ~ 7", "name", "~", "7"),
        ("config.x = 1e999", "config.x", "=", "1e999"),
        ("config.x < inf", "config.x", "<", math.inf),
        ("config.x = nan", "config.x", "=", "nan"),
        ("config.x = 1_000", "config.x", "=", "1_000"),
        ("config.x = [30, 60]", "config.x", "=", "[30, 60]"),
    ],
)
def test_values_have_types(text, field, op, value):
    """Numbers, truth values and null are read as such; all else, and quoted text, is text."""
    condition = Filter.parse(text)

    assert (condition.field, condition.op, condition.value) == (field, op, value)
    assert type(condition.value) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "params.seed = '1'",
        "metrics.loss < 0.5",
        "attributes.status = 'FINISHED'",
        "tags.phase = 'warm' and tags.kind = 'b'",
        "seed = 1 and depth = 2",
        "tags.phase LIKE '%warm%'",
        '{"config.lr": {"$gt": 0}}',
        "tags.`phase` = 'x'",
        "",
        "seed",
        "seed =",
        "= 1",
        "seed =< 1",
        'name = "open',
    ],
)
def test_a_trackers_own_language_is_refused(text):
    """An expression in MLflow's or W&B's language is an error that names `--filter-raw`."""
    with pytest.raises(UsageError, match=r"Fix: .*--filter-raw"):
        Filter.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name ~ (", "missing"),
        (r"name ~ (a)\1", "no back-references"),
        ("name ~ " + "a" * 1001, "1,001 characters"),
        ("config.x < true", "true has no order"),
        ("config.x >= null", "null has no order"),
    ],
)
def test_conditions_without_a_meaning_are_refused(text, message):
    """An invalid or overlong pattern, or an order of truth values, is a clear error."""
    with pytest.raises(UsageError, match=message):
        Filter.parse(text)


def test_an_unknown_operator_is_refused():
    """A filter that is built in Python accepts the documented operators only."""
    with pytest.raises(UsageError, match="Unknown operator 'like'"):
        Filter("name", "like", "x")
    with pytest.raises(UsageError, match="as text, not 5"):
        Filter("name", "~", 5)


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("x = 30", 30.0, True),
        ("x = 30", "30.0", True),
        ("x = 30", "thirty", False),
        ("x != 30", "thirty", True),
        ("x < 30", "thirty", False),
        ("x >= 30", "thirty", False),
        ("x < 9", "10", False),
        ("x = 1", True, False),
        ("x = true", "True", True),
        ("x = true", True, True),
        ("x = false", True, False),
        ("x = null", None, True),
        ("x = null", "null", True),
        ("x = null", 0, False),
        ("x != null", None, False),
        ("x = 5", None, False),
        ("x != 5", None, True),
        ("x < 5", None, False),
        ("x ~ .", None, False),
        ('x = "1"', 1, True),
        ('x = "1"', "1.0", False),
        ("x < b", "a", True),
        ("x = [30, 60]", [30, 60], True),
        ("x = inf", math.inf, True),
        ("x = nan", math.nan, True),
        ("x = 9007199254740993", 9007199254740992, False),
        ("x ~ ^a+$", "aaa", True),
        ("x ~ (?i)WARM", "phase warm", True),
        ("x ~ 0", 10, True),
        ("scheduler.id = 12e45678", "34e99999", False),
        ("scheduler.id = 12345600", "123456e2", False),
        ("name = 7", "007", False),
        ("state = finished", "FINISHED", True),
    ],
)
def test_how_values_compare(text, value, holds):
    """Numbers compare as numbers, ids as text; a missing field is null, and differs from all."""
    assert Filter.parse(text).holds(value) is holds


def test_a_pattern_takes_linear_time():
    """A pattern that is exponential for backtracking engines is searched at once."""
    assert not Filter.parse("name ~ (a+)+$").holds("a" * 5000 + "b")


RUNS = [
    {"seed": 0, "config.lr": 0.1, "tags.phase": "warm"},
    {"seed": 1, "config.lr": "1e-3"},
    {"seed": 2, "config.depth": 3},
]


@pytest.mark.parametrize(
    ("filters", "seeds"),
    [
        ((), [0, 1, 2]),
        ("lr > 0.01", [0]),
        (["lr < 1", "seed >= 1"], [1]),
        ("phase != warm", [1, 2]),
        ("lr = null", [2]),
        ("seed = 9", []),
        (Filter("config.depth", "=", 3), [2]),
    ],
)
def test_all_filters_must_hold(filters, seeds):
    """Runs pass for which all filters hold; a bare name is a key of the config or a tag."""
    passing = select(RUNS, filters_of(filters), dict)

    assert [run["seed"] for run in passing] == seeds


def test_a_field_that_no_run_has_is_an_error():
    """A misspelt field is an error with the nearest name, rather than an empty result."""
    with pytest.raises(UsageError, match=r"Unknown field to filter by 'sed'. Did you mean 'seed'"):
        select(RUNS, filters_of("sed = 1"), dict)


def test_a_field_that_no_run_has_differs_from_every_value():
    """With `!=`, a field that no run has selects all runs, with a warning."""
    with pytest.warns(LRTrackWarning, match="No run has the field 'sed'"):
        passing = select(RUNS, filters_of("sed != 1"), dict)

    assert passing == RUNS
