"""What the statistics return are values: nobody changes them."""

from dataclasses import replace

from fixtures.values import changing

import lrtrack.stats
from lrtrack.stats import ComparisonResult, summarise
from lrtrack.stats.figures import NOT_COMPARED, Procedure


def test_values_are_frozen():
    """Every dataclass of the statistics is frozen, but the one that counts."""
    assert changing(lrtrack.stats) == {"RowBudget"}


def test_results_are_compared_by_their_figures(make_history):
    """Two comparisons are equal if their figures are, whichever runs they were read from."""
    history = make_history({"loss": [1.0]})
    empty = ComparisonResult(None, "loss", "min", None, ())
    other = replace(empty, runs=(summarise(history, "loss", "min", None),), histories=(history,))

    assert empty == other
    assert "runs=" not in repr(other)
    assert "histories=" not in repr(other)
    assert empty.test == NOT_COMPARED == Procedure(None, "linear", 0, None, 0.0, 0.0)
