"""The packages that lrtrack works with: which releases are installed, and whether they import."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

#: Packages whose releases `lrtrack doctor` names, and of each what is imported to test it.
PACKAGES = {"torch": "torch", "mlflow": "mlflow.tracking", "wandb": "wandb"}


def installed(package: str) -> str:
    """The release of a package, as text for people; without importing it."""
    try:
        release = version(package)
    except PackageNotFoundError:
        return "not installed"
    if importlib.util.find_spec(package) is None:
        return f"{release}, but its files are missing. Fix: {_reinstalled(package)}"
    return release


def import_errors() -> dict[str, str]:
    """Import each package in a process of its own, all at the same time.

    Returns:
        For each package that is installed the error of its import, with the fix; empty without one.
    """
    found = [package for package in PACKAGES if importlib.util.find_spec(package) is not None]
    # -P: nothing in the working directory may stand for a package.
    command = [sys.executable, "-P", "-W", "ignore", "-c"]
    processes = {
        package: subprocess.Popen(  # noqa: S603 (a fixed command)
            [*command, f"import {PACKAGES[package]}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        for package in found
    }
    errors = {}
    try:
        for package, process in processes.items():
            _, stderr = process.communicate()
            errors[package] = _error(package, process.returncode, stderr)
    finally:
        for process in processes.values():  # after Ctrl-C
            process.kill()
            process.wait()
    return errors


def _error(package: str, status: int, stderr: str) -> str:
    if status == 0:
        return ""
    if status < 0:
        reason = f"ended by {signal.Signals(-status).name}"
    else:
        lines = stderr.strip().splitlines()
        reason = lines[-1] if lines else f"exit status {status}"
    return f"cannot be imported: {reason}. Fix: {_reinstalled(package)}"


def _reinstalled(package: str) -> str:
    return f"pip install --force-reinstall {package}"
