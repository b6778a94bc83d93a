"""Prints every message of lrtrack by module: `python tests/docs/messages.py`.

Messages are the texts of raised errors, of `warn`, `notice` and `click.echo`, the help of options
and commands, and the messages and hints of diagnoses. Values that are filled in appear as `{…}`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "lrtrack", ROOT / "integrations")
#: Functions whose first text is a message.
_CALLS = ("warn", "notice", "echo", "UsageError", "Diagnosis", "diagnosis", "Notice", "fail")
#: Keyword arguments that are messages.
_KEYWORDS = ("help", "short_help", "message", "hint", "reason")


def text_of(node: ast.expr) -> str | None:
    """Returns a string literal or f-string as text; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [
            part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "{…}"
            for part in node.values
        ]
        return "".join(parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        return None if left is None and right is None else f"{left or '{…}'}{right or '{…}'}"
    return None


def _called(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def messages_of(source: str) -> Iterator[tuple[int, str]]:
    """Yields (line, text) of every message in a Python source."""
    tree = ast.parse(source)
    raised = {
        id(node.exc)
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        texts = []
        if id(node) in raised or _called(node) in _CALLS:
            texts = [text_of(argument) for argument in node.args]
        texts += [text_of(k.value) for k in node.keywords if k.arg in _KEYWORDS]
        yield from ((node.lineno, text) for text in texts if text and " " in text)


def all_messages() -> Iterator[tuple[str, int, str]]:
    """Yields (file, line, text) of every message of lrtrack."""
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            for line, text in messages_of(path.read_text(encoding="utf-8")):
                yield str(path.relative_to(ROOT)), line, text


if __name__ == "__main__":
    last = ""
    for file, line, text in all_messages():
        if file != last:
            print(f"\n{file}")
            last = file
        print(f"  {line}: {text}")
