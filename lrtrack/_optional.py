"""The one door through which heavy or optional packages are imported late."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from lrtrack.errors import MissingPackage


def load(
    module: str, extra: str | None = None, package: str | None = None, at_least: str | None = None
) -> ModuleType:
    """Import `module` now, or say which `pip install` line brings it.

    Args:
        module: dotted module name.
        extra: the extra of lrtrack that installs it; None where it is a plain dependency.
        package: what it is called in the package index; None: as the module's first name.
        at_least: the oldest release that is supported, such as `"2.1"`; None: any.

    Raises:
        MissingPackage: it is not installed, or older than `at_least`.
    """
    package = package or module.partition(".")[0]
    if at_least is not None:
        _check(package, extra, at_least)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        what = f"lrtrack[{extra}]" if extra else package
        raise MissingPackage(
            f"{module} is not installed here; install it with: pip install '{what}'"
        ) from error


def _check(package: str, extra: str | None, at_least: str) -> None:
    """Refuse a release from before `at_least`; one whose version cannot be told is let pass."""
    try:
        found = version(package)
    except PackageNotFoundError:
        return  # importing it will tell
    if _numbers(found) < _numbers(at_least):
        what = f"lrtrack[{extra}]" if extra else package
        raise MissingPackage(
            f"{package} {found} is installed here; lrtrack supports {at_least} and later. "
            f"Upgrade with: pip install -U '{what}' '{package}>={at_least}'"
        )


def _numbers(release: str) -> tuple[int, ...]:
    """The leading numbers of a version: enough to tell releases apart, if not their candidates."""
    match = re.match(r"\d+(\.\d+)*", release)
    return tuple(int(part) for part in match[0].split(".")) if match else (10**9,)
