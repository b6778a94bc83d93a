"""The name of this machine's CPU."""

from __future__ import annotations

import platform


def cpu_name() -> str:
    """Return the CPU's model name; its architecture if that is unknown."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 (not a user's path)
            for line in lines:
                if line.lower().startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
