from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.fields import text_of
from lrtrack.schedules import Schedule, label_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FRACTIONS = st.floats().filter(lambda number: not number.is_integer())
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), FRACTIONS, TEXT)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
)
KEYS = TEXT.filter(lambda key: key != "name")
PARAMS = st.dictionaries(KEYS, VALUES, max_size=5)
SCHEDULES = st.builds(Schedule, TEXT, PARAMS)

WARMED = Schedule(
    "SequentialLR",
    {
        "schedulers": [
            {"name": "LinearLR", "start_factor": 0.1},
            {"name": "ChainedScheduler", "schedulers": [{"name": "StepLR", "step_size": 30}]},
        ],
        "milestones": [30, 60],
    },
)


@given(SCHEDULES)
def test_spec_round_trip(schedule: Schedule) -> None:
    """A schedule rebuilt from its spec is equal to it, with the same id and hash."""
    rebuilt = Schedule.from_spec(schedule.spec)

    assert schedule == rebuilt
    assert (schedule.spec, schedule.id, hash(schedule)) == (rebuilt.spec, rebuilt.id, hash(rebuilt))


@given(st.builds(Schedule, TEXT, st.dictionaries(KEYS, PLAIN | st.lists(PLAIN, max_size=4))))
def test_tags_of_the_rebuilt(schedule: Schedule) -> None:
    """A schedule rebuilt from its spec has the same tags and the same label."""
    rebuilt = Schedule.from_spec(schedule.spec)

    assert schedule.flat() == rebuilt.flat()
    assert schedule.label == rebuilt.label


@given(SCHEDULES)
def test_spec_is_strict_json(schedule: Schedule) -> None:
    """A spec is strict JSON with sorted keys: no NaN and no Infinity in it."""

    def refuse(word: str) -> Any:
        raise AssertionError(word)

    data = json.loads(schedule.spec, parse_constant=refuse)

    assert json.dumps(schedule.to_dict(), sort_keys=True) == json.dumps(data)


@given(TEXT, PARAMS)
def test_order_does_not_count(name: str, params: dict[str, Any]) -> None:
    """The order of parameters does not affect equality."""
    turned = dict(reversed(params.items()))

    assert Schedule(name, params) == Schedule(name, turned)
    assert Schedule(name, params).label == Schedule(name, turned).label


@given(SCHEDULES)
def test_flat_is_text(schedule: Schedule) -> None:
    """All tags are text, and the first is the name."""
    tags = schedule.flat()

    assert {str} == {type(value) for value in tags.values()}
    assert ("name", schedule.name) == next(iter(tags.items()))


def test_spec_text() -> None:
    """The spec has no spaces, sorted keys and unescaped letters."""
    expected = '{"a":[1,null,true],"b":1.5,"name":"Größe"}'

    assert expected == Schedule("Größe", {"b": 1.5, "a": (1, None, True)}).spec


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_equal_numbers_make_equal_schedules(number: int) -> None:
    """`eta_min=0` and `eta_min=0.0` are the same schedule; tags show what was given."""
    whole, real = Schedule("S", {"p": number}), Schedule("S", {"p": float(number)})

    assert whole == real
    assert whole.id == real.id
    assert whole.flat()["p"] == str(number)
    assert real.flat()["p"] == json.dumps(float(number))


def test_id_is_kept() -> None:
    """Ids equal those of earlier versions."""
    expected = "a7e05622"

    assert expected == WARMED.id


def test_flat_opens_nested_schedules() -> None:
    """Lists of schedules are expanded to dotted names; other lists are JSON."""
    expected = {
        "name": "SequentialLR",
        "schedulers.0.name": "LinearLR",
        "schedulers.0.start_factor": "0.1",
        "schedulers.1.name": "ChainedScheduler",
        "schedulers.1.schedulers.0.name": "StepLR",
        "schedulers.1.schedulers.0.step_size": "30",
        "milestones": "[30, 60]",
    }

    assert expected == WARMED.flat()


def test_label() -> None:
    """A label shows inner schedules by their labels and sorts parameters."""
    expected = (
        "SequentialLR(milestones=[30, 60], schedulers=[LinearLR(start_factor=0.1), "
        "ChainedScheduler(schedulers=[StepLR(step_size=30)])])"
    )

    assert expected == WARMED.label


def test_label_without_parameters() -> None:
    """A schedule without parameters is labelled by its name alone."""
    expected = "constant"

    assert expected == label_of({"name": "constant"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("cos", "cos"),
        (0.1, "0.1"),
        (1.0, "1.0"),
        (30, "30"),
        (True, "true"),
        (None, "null"),
        ([30, 60], "[30, 60]"),
        ((0.5, "a"), '[0.5, "a"]'),
        ({"a": 1}, '{"a": 1}'),
        (1e-8, "1e-08"),
        (math.inf, '"inf"'),
        ("ä", "ä"),
        (["ä"], '["ä"]'),
    ],
)
def test_text_of(value: Any, expected: str) -> None:
    """Text is unchanged; everything else is written as JSON."""
    text = text_of(value)

    assert expected == text


@pytest.mark.parametrize(
    "spec", ["", "[]", '"StepLR"', "{}", '{"name": 3}', "{'name': 'StepLR'}", "null"]
)
def test_no_schedule(spec: str) -> None:
    """Text that is not a schedule is a ValueError."""
    with pytest.raises(ValueError):
        Schedule.from_spec(spec)


def test_not_equal_to_others() -> None:
    """A schedule differs from one with other parameters, another name, and from its own spec."""
    schedule = Schedule("StepLR", {"step_size": 30})

    assert schedule not in (Schedule("StepLR", {"step_size": 31}), Schedule("Other"), schedule.spec)


def test_a_label_names_a_functions_settings_once() -> None:
    """A setting in the text of the learning-rate function is not named again as a parameter."""
    text = 'optim.ramp(0.5, shape="cos", warmup=5)'
    one = Schedule("LambdaLR", {"lr_lambda": text, "shape": "cos", "warmup": 5, "gamma": 0.5})
    other = Schedule("LambdaLR", {"lr_lambda": text, "shape": "linear", "warmup": 50})
    cyclic = Schedule("CyclicLR", {"scale_fn": "optim.Decay(gamma=1.0)", "gamma": 1.0})

    assert f"LambdaLR(gamma=0.5, lr_lambda={text})" == one.label
    assert f"LambdaLR(lr_lambda={text}, shape=linear, warmup=50)" == other.label
    assert cyclic.label == "CyclicLR(gamma=1.0, scale_fn=optim.Decay(gamma=1.0))"
