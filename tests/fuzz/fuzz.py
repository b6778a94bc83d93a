"""`python tests/fuzz/fuzz.py TARGET [libFuzzer's options]`: see README.md beside this file."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["lrtrack.journal", "lrtrack.schedules", "lrtrack.trackers"]
):
    from targets import TARGETS, seeds


def main() -> None:
    """Fuzz one target from its seeds on."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"Say what to fuzz: {', '.join(TARGETS)}.")
    corpus = Path(tempfile.mkdtemp(prefix=f"lrtrack-fuzz-{name}-"))
    for at, (target, data) in enumerate(seeds()):
        if target == name:
            (corpus / str(at)).write_bytes(data)
    options = ["-rss_limit_mb=4096", f"-artifact_prefix={corpus}/found-"]
    atheris.Setup([sys.argv[0], *options, *sys.argv[2:], str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
