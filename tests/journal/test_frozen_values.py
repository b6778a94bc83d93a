"""What is read from journals are values: nobody changes them."""

from fixtures.values import changing

import lrtrack.journal


def test_values_are_frozen() -> None:
    """Every dataclass of the journal is frozen."""
    assert changing(lrtrack.journal) == set()
