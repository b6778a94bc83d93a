"""Makes the fixtures known to all tests, and configures test runs."""

from __future__ import annotations

import atexit
import gc
import importlib
import importlib.util
import os
import sys
import threading
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# Before torch is imported, and for every program that a test starts. The networks of the tests are
# so small that a second thread only waits for the first, at full load: with several workers, that
# took ten times as long.
os.environ["OMP_NUM_THREADS"] = "1"
# Otherwise Ray replaces `print` for good, and what holds the former one cannot be pickled.
os.environ["RAY_TQDM_PATCH_PRINT"] = "0"

# Everything that the tests import stays. Looking through it again and again, and once more at the
# end, is a fifth of a worker's time.
gc.set_threshold(50_000, 20, 20)
atexit.register(gc.freeze)

# Packages beside the tests, which pytest imports one by one.
for _name in ("wandb_loopback", "postgres", "fixtures"):
    _folder = Path(__file__).parent / _name
    _spec = importlib.util.spec_from_file_location(
        _name, _folder / "__init__.py", submodule_search_locations=[str(_folder)]
    )
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules[_name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_name])
loopback = importlib.import_module("wandb_loopback.plugin").loopback
longest_first = importlib.import_module("fixtures.order").longest_first
warm_start = importlib.import_module("fixtures.warm_start")
is_quick = importlib.import_module("fixtures.order").is_quick

# A busy machine may take any time for an example.
hypothesis.settings.register_profile("lrtrack", deadline=None)
hypothesis.settings.load_profile("lrtrack")

pytest_plugins = [
    "fixtures.isolation",
    "fixtures.servers",
    "fixtures.programs",
    "fixtures.benchmark",
]


def pytest_configure(config: pytest.Config) -> None:
    """Makes programs start quickly, but in the soak, and where none will start."""
    if os.environ.get("LRTRACK_SOAK", "") == "1" or config.option.collectonly:
        return
    if not hasattr(config, "workerinput"):  # not in xdist's workers, which share the servers
        left_out = [f"--ignore={path}" for path in config.option.ignore or ()]
        warm_start.offer([*config.args, *left_out, f"--rootdir={config.rootpath}"])
    warm_start.install()
    everything = config.args_source == pytest.Config.ArgsSource.TESTPATHS
    if everything and config.option.dist != "no" and os.environ.get("LRTRACK_QUICK", "") != "1":
        # Collecting takes one processor half a minute; the others get ready for programs.
        for kind in ("full", "own"):
            threading.Thread(target=warm_start.server, args=(kind,), daemon=True).start()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes the folder of the servers, which end with this process."""
    if not hasattr(config, "workerinput"):
        warm_start.withdraw()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Uses twice as many workers as processors, because many tests wait for servers."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips tests marked `soak` in runs of the whole suite, and puts the longest files first.

    `tox -e soak` runs all tests, and `tox -e quick` the quick ones.
    """
    if os.environ.get("LRTRACK_QUICK", "") == "1":
        config.hook.pytest_deselected(items=[test for test in items if not is_quick(test)])
        items[:] = filter(is_quick, items)
    if os.environ.get("LRTRACK_SOAK", "") != "1" and len({item.path for item in items}) > 20:
        for item in items:
            if item.get_closest_marker("soak") is not None:
                item.add_marker(pytest.mark.skip(reason="takes long: tox -e soak"))
    items[:] = longest_first(items)


def pytest_collection_finish() -> None:
    """Spares later collections of garbage what has been imported and collected so far."""
    gc.collect()
    gc.freeze()


_CONFORMANCE = "test_conformance.py::test_what_arrives"
_conformance: dict[str, list[bool]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Counts the results of the conformance suite, in the process that workers report to."""
    _, _, test = report.nodeid.partition(_CONFORMANCE)
    if test and (report.when == "call" or report.outcome == "failed"):
        _conformance.setdefault(test, []).append(report.passed)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints how many conformance cases there are, and how many passed."""
    if _conformance:
        passed = sum(all(results) for results in _conformance.values())
        cases = {test.rpartition("-")[0] for test in _conformance}
        trackers = {test.rpartition("-")[2] for test in _conformance}
        terminalreporter.write_line(
            f"conformance: {len(cases)} cases in up to {len(trackers)} trackers, "
            f"{passed} of {len(_conformance)} passed"
        )
