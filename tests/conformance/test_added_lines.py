"""Scripts are recorded by at most three added lines, none of theirs moves, and they train alike."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from lrtrack.tracking import unended

from . import script_cases
from .truth import Truth

ADDED = "# added"


def without_added_lines(code: str) -> tuple[str, list[str]]:
    """Returns a script as it was, and the lines that were added to it, without indentation."""
    lines = code.splitlines(keepends=True)
    added = [line for line in lines if line.rstrip().endswith(ADDED)]
    return "".join(line for line in lines if line not in added), [line.strip() for line in added]


def trained(train: Callable[[Truth], list[torch.Tensor]], name: str) -> tuple[Any, Any]:
    """Returns the weights that a script trains, and the expected values that it notes."""
    torch.manual_seed(0)
    truth = Truth(name)
    weights = train(truth)
    unended._end_all(failed=False, interrupted=False)
    return [weight.tolist() for weight in weights], truth.points


@pytest.mark.parametrize("name", script_cases.SCRIPTS)
def test_a_script_with_and_without_the_added_lines(
    name: str, clean_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most three lines are added, no other line changes, and the weights are the same."""
    monkeypatch.setenv("LRTRACK_TRACKER", "local")
    train = script_cases.SCRIPTS[name]
    parts = [script_cases.Trainer, train] if name == "minGPT" else [train]
    original, added = without_added_lines("\n".join(map(inspect.getsource, parts)))
    plain = ModuleType(script_cases.__name__)
    vars(plain).update(
        vars(script_cases), script=lambda *names, **options: lambda function: function
    )
    exec(compile(textwrap.dedent(original), "plain.py", "exec"), vars(plain))

    assert 2 <= len(added) <= 3
    assert [line for line in added if line.partition("#")[0].rstrip().endswith(":")] == []
    assert [word for word in ("lrtrack", "recorded", "run.record") if word in original] == []
    assert trained(vars(plain)[train.__name__], name) == trained(train, name)
    assert (clean_place / ".lrtrack").exists()
