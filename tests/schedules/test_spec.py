"""The text form of schedules: parsing, writing and errors with positions."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.errors import UsageError
from lrtrack.schedules.catalogue import KINDS, open_params, stages_of
from lrtrack.schedules.spec import Choice, Range, SpecError, Stage, parse, write

NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
SCALAR = (
    st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False)
    | st.booleans()
    | st.none()
    | st.text(st.characters(exclude_characters="'", exclude_categories=["Cs", "Cc"]), max_size=6)
)
RANGE = st.tuples(st.integers(1, 9), st.integers(10, 99), st.booleans()).map(lambda t: Range(*t))
VALUE = SCALAR | st.lists(SCALAR, max_size=3) | RANGE | st.lists(SCALAR).map(tuple).map(Choice)
STAGES = st.lists(
    st.builds(Stage, NAME, st.dictionaries(NAME, VALUE, max_size=3)), min_size=1, max_size=3
)


@given(STAGES)
def test_what_is_written_is_read_back(stages: list[Stage]):
    """A written spec is parsed back to the same names, parameters and values, in order."""
    parsed = parse(write(stages))

    assert [(stage.name, dict(stage.params)) for stage in parsed] == [
        (stage.name, dict(stage.params)) for stage in stages
    ]


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str):
    """Any text gives either stages or a `SpecError`."""
    with contextlib.suppress(SpecError):
        assert parse(text)


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("x(a=.5, b=1e-3, c=-2, d=+3.)", {"a": 0.5, "b": 0.001, "c": -2, "d": 3.0}),
        ("x(a=1..5)", {"a": Range(1, 5)}),
        ("x(a=0.01..0.3 log)", {"a": Range(0.01, 0.3, log=True)}),
        ("x(a={1, 2.5, 'z'})", {"a": Choice((1, 2.5, "z"))}),
        ("x(a=[30, 60], b=[])", {"a": [30, 60], "b": []}),
        ("x(a=True, b=none, c=word, d='two words')", {"a": True, "b": None, "c": "word",
                                                      "d": "two words"}),
        ("x()", {}),
        ("  x  ", {}),
    ],
)  # fmt: skip
def test_values(text: str, params: dict):
    """A spec can hold numbers, words, lists, ranges and alternatives."""
    (stage,) = parse(text)

    assert dict(stage.params) == params


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("", 0, "the name of a schedule, but the text ends"),
        ("1x", 0, "the name of a schedule, but found '1'"),
        ("a(", 2, "the name of a parameter"),
        ("a(b", 3, "expected '='"),
        ("a(b=", 4, "a value"),
        ("a(b=1 c=2)", 6, "',' or ')'"),
        ("a(b=1, b=2)", 7, "given more than once"),
        ("a) b", 1, "'->' or the end"),
        ("a -> ", 5, "the name of a schedule"),
        ("a(b=5..1)", 4, "lower end below its upper end"),
        ("a(b=0..1 log)", 4, "must start above 0"),
        ("a(b=$)", 4, "unexpected character"),
    ],
)
def test_mistakes_are_pointed_at(text: str, at: int, expected: str):
    """A syntax error points at the character and names what was expected there."""
    with pytest.raises(SpecError) as caught:
        parse(text)

    message, excerpt, pointer = str(caught.value).splitlines()
    assert expected in message
    assert excerpt == f"  {text}"
    assert pointer == " " * (at + 2) + "^"


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("cosin(T_max=3)", 0, "Did you mean 'cosine'"),
        ("warmup(steps=3) -> cosine(steps=9, gamma=1)", 35, "Unknown parameter of cosine 'gamma'"),
        ("cosine(steps=3, T_max=4)", 16, "T_max is given more than once"),
        ("step(gamma=0.5)", 0, "step needs step_size"),
        ("constant -> time(min_lr=0.1)", 12, "time needs exactly one of rate, half_life, every"),
        ("time(rate=1, every=2)", 13, "time needs exactly one of rate, half_life, every"),
        ("wsd(warmup=9, hold=3)", 14, "Unknown parameter of wsd 'hold'"),
    ],
)
def test_names_that_do_not_exist(text: str, at: int, expected: str):
    """An unknown name gets suggestions and a pointer to its position."""
    with pytest.raises(UsageError, match=expected) as caught:
        stages_of(text)

    assert str(caught.value).splitlines()[2] == " " * (at + 2) + "^"


def test_short_names_become_the_classes_own():
    """The short names `steps` and `min_lr` become torch's `T_max` and `eta_min`."""
    (stage,) = stages_of("cosine(steps=9, min_lr=1e-5)")

    assert dict(stage.params) == {"T_max": 9, "eta_min": 1e-05}


def test_open_parameters():
    """Ranges and alternatives are listed as the parameters that a sweep chooses."""
    stages = stages_of("warmup(steps={5, 9}) -> cosine(T_max=1..3, eta_min=0)")
    open_ones = [(stage.name, name, value) for stage, name, value in open_params(stages)]

    assert open_ones == [
        ("warmup", "total_iters", Choice((5, 9))),
        ("cosine", "T_max", Range(1, 3)),
    ]


def test_short_names_lead_to_parameters_that_exist():
    """Every short name, required name and length in the catalogue is a parameter of its kind."""
    for kind in KINDS.values():
        assert set(kind.short.values()) <= set(kind.params)
        assert set(kind.required) <= set(kind.params)
        assert kind.length is None or kind.length in kind.params
