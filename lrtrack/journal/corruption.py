"""The damaged parts of a journal, reported while the rest is read."""

from __future__ import annotations

from lrtrack.number_text import file_size


class Damage:
    """Byte ranges that belong to no valid frame, each counted once."""

    def __init__(self) -> None:
        self._spans: dict[int, int] = {}

    def add(self, start: int, end: int) -> None:
        """Records the bytes from `start` up to `end`."""
        self._spans[start] = end

    def remove(self, start: int) -> None:
        """Forgets the range at `start`: it turned out to be valid, or to be gone."""
        self._spans.pop(start, None)

    @property
    def places(self) -> int:
        """How many ranges there are."""
        return len(self._spans)

    @property
    def size(self) -> int:
        """How many bytes they hold."""
        return sum(end - start for start, end in self._spans.items())

    def __bool__(self) -> bool:
        return bool(self._spans)

    def __str__(self) -> str:
        many = "1 place" if self.places == 1 else f"{self.places} places"
        return f"damaged in {many} ({file_size(self.size)})"
