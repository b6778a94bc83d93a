"""Tells objects of a framework by the names of their classes, without an import of them."""

from __future__ import annotations

from typing import Any


def derives_from(value: Any, name: str) -> bool:
    """Whether an object's class has this name, or derives from a class that has it."""
    return any(cls.__name__ == name for cls in type(value).__mro__)
