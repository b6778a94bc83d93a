"""Mechanical rules for messages: their parts, their words and their punctuation."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("messages", Path(__file__).with_name("messages.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
messages = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(messages)

#: Each rule, and a regular expression that finds what breaks it.
RULES = {
    "the fix is called Fix": r"\bTo do:|\bSolution:|\bRemedy:",
    "Fix follows a complete sentence": r"[^.!?)”\"}…:] Fix: ",
    "the fix is not empty": r"Fix:\s*$",
    "users are you or they": r"\b(he|his|him|she|her)\b",
    "nothing is told": r"\b(is|are|was|were) told\b|\btell of\b|\bgone on with\b",
    "the available choices are called Available": r"\bThere is:|\bThere are:",
    "no double spaces": r"[a-z] {2,}[a-z]",
}


def test_messages_are_found() -> None:
    """The collector finds errors, warnings, help texts and hints."""
    source = """
raise UsageError(f"Cannot read {path}. " "Fix: check it.")
warn("the disk is full")
click.option("--x", help="Only these runs.")
Diagnosis(code="LR001", message="never stepped", hint="step it")
"""

    assert [text for _, text in messages.messages_of(source)] == [
        "Cannot read {…}. Fix: check it.",
        "the disk is full",
        "Only these runs.",
        "never stepped",
        "step it",
    ]


@pytest.mark.parametrize("rule", RULES)
def test_messages_keep_the_rule(rule: str) -> None:
    """No message of lrtrack breaks the rule."""
    found = [
        f"{file}:{line}: {text}"
        for file, line, text in messages.all_messages()
        if re.search(RULES[rule], text)
    ]

    assert found == []
