"""Steps that run without Python, so that no hook sees them: compiled ones and captured ones."""

from __future__ import annotations


class Hidden:
    """What shows that steps of one optimizer run without its hooks.

    Compiled code sets `compiled` and `latest` at each of its steps. It never reads them, because
    torch compiles code again when a value that it has read changes.

    Attributes:
        compiled: whether a compiled step was made since `look`.
        latest: whether the latest step was a hidden one, until `taken`.
        captured: whether a CUDA graph has captured a step.
        replays: how often such graphs were replayed since an ordinary step.
        was_compiled: whether a compiled step was ever found by `look`.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything, as an ordinary step was made."""
        self.compiled = self.latest = self.captured = self.was_compiled = False
        self.replays = self._made = 0

    def look(self) -> bool:
        """Whether a compiled step was made since the previous call; for any thread."""
        compiled, self.compiled = self.compiled, False
        self.was_compiled |= compiled
        return compiled

    def replay(self, made: int) -> None:
        """Note that a graph with a captured step was replayed, after `made` other steps."""
        self.replays = self.replays + 1 if made == self._made else 1
        self._made = made
        self.latest = True

    def replays_after(self, made: int) -> int:
        """How often graphs were replayed since the step before which `made` others were."""
        return self.replays if made == self._made else 0

    def taken(self) -> bool:
        """Whether a hidden step was made since the previous call."""
        latest, self.latest = self.latest, False
        return latest
