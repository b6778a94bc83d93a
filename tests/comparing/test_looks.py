"""Warnings of looking at a comparison again and again while seeds are added."""

import pytest

import lrtrack
from lrtrack import user_state
from lrtrack.records import Run, State, StepRecord
from lrtrack.schedules import Schedule
from lrtrack.trackers.memory import MemoryTracker


@pytest.fixture
def look(clean_place):
    """Adds runs of two schedules up to a number of seeds, and returns the codes of warnings."""
    tracker = MemoryTracker()

    def compare(seeds, **options):
        for schedule, base in ((Schedule("A"), 1.0), (Schedule("B"), 1.5)):
            for seed in range(seeds):
                run = Run(id=f"{schedule.name}{seed:031x}", name="r", schedule=schedule, seed=seed)
                sink = tracker.sink(run, tracker.target("x"), None)
                sink.open()
                loss = base + (seed * seed % 7) / 10 * base
                sink.write([StepRecord(0, 1.0, {"loss": loss, "lr": 0.1})], doubt=False)
                sink.close(State.FINISHED, 2.0, {})
        found = lrtrack.compare("x", tracker=tracker, **options)
        return [item.code for item in found.warnings]

    return compare


def test_more_seeds_than_before(look):
    """A second look with more seeds is warned of; one with the same seeds is not."""
    assert look(3) == []
    assert look(3) == []
    assert look(5) == ["looked-before"]


def test_a_sequential_comparison_may_be_looked_at(look):
    """A sequential comparison holds however often one looks, and has no such warning."""
    assert look(3) == []
    assert look(5, sequential=True) == []


def test_another_store_is_another_comparison(look):
    """An experiment of the same name with other runs was not looked at before."""
    assert look(3) == []
    assert look(5, filters="seed > 0") == []


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', "[" * 100_000])
def test_damaged_memories(look, content):
    """A damaged file is replaced, and never stops a comparison."""
    (user_state.directory() / "looks.json").write_text(content)

    assert look(3) == []
    assert look(4) == ["looked-before"]
