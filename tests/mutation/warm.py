"""The pytest plugin that collects the tests once, and then tests mutant after mutant in forks."""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import coverage
import forks
import in_place
import mutants
import pytest

#: Seconds of processor time for a test of a mutant, besides five times what it takes without one.
ALLOWANCE = 5.0
#: Seconds of wall time for it, besides twenty times that processor time.
PAUSE = 60.0
#: Seconds after which a test gives up waiting for an event.
PATIENCE = 20.0

#: Test → the processor time that it takes, and the lines of each file that it runs.
Baseline = dict[str, tuple[float, dict[str, list[int]]]]


def cpu_seconds() -> float:
    """Returns the processor time of this process and of those that it has waited for."""
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


class Settings:
    """Makes tests repeatable, and keeps them from waiting long for what a mutant never does."""

    def pytest_configure(self, config: pytest.Config) -> None:
        """Chooses hypothesis' examples by the test alone, and shortens the wait for events."""
        import hypothesis  # not before pytest, which changes its assertions

        hypothesis.settings.register_profile(
            "mutation",
            deadline=None,
            derandomize=True,
            database=None,
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],  # one failure is enough
        )
        hypothesis.settings.load_profile("mutation")
        isolation = sys.modules.get("fixtures.isolation")
        if isolation is not None:
            isolation.PATIENCE = PATIENCE  # type: ignore[attr-defined]


class Failures:
    """Notes the tests that fail."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes a report of a failure."""
        if report.failed:
            self.failed.append(report.nodeid)


class Warm(Settings):
    """Hands the collected tests to a function, in place of running them."""

    def __init__(self, then: Callable[[Collected], None]) -> None:
        self._then = then

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Calls the function."""
        self._then(Collected(session))
        return True


class Collected:
    """All tests, ready to run in forks of this process."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session
        self.items = {item.nodeid: item for item in session.items}
        import lrtrack

        self.root = Path(lrtrack.__file__).parents[1]
        self._functions = in_place.functions_below(self.root / "lrtrack")

    def baseline(self, packages: Sequence[str], file: Path) -> Baseline:
        """Returns what each test takes and reaches of some packages.

        Only tests that `file` does not have yet are measured.
        """
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        items = [item for name, item in self.items.items() if name not in known]
        if items:
            result = forks.in_fork(lambda: self._measure(packages, items), 7200.0, nice=False)
            if result is None:
                raise SystemExit("The tests do not run to their end without a mutant.")
            known.update(result)
            file.write_text(json.dumps(known), encoding="utf-8")
        return known

    def _measure(self, packages: Sequence[str], items: Sequence[pytest.Item]) -> Baseline:
        cover = coverage.Coverage(
            data_file=None, source=[str(self.root / package) for package in packages]
        )
        cover.start()
        failures, seconds = Failures(), {}
        self._session.config.pluginmanager.register(failures)
        for item, following in zip_longest(items, items[1:]):
            cover.switch_context(item.nodeid)
            start = cpu_seconds()
            self._session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            seconds[item.nodeid] = cpu_seconds() - start
            print(f"{seconds[item.nodeid]:.2f} {item.nodeid}", flush=True)
        cover.stop()
        data = cover.get_data()
        reached: dict[str, dict[str, list[int]]] = {name: {} for name in seconds}
        for path in data.measured_files():
            file = Path(path).relative_to(self.root).as_posix()
            for line, contexts in data.contexts_by_lineno(path).items():
                for name in contexts:
                    if name in reached:
                        reached[name].setdefault(file, []).append(line)
        failed = set(failures.failed)  # on a busy machine, say: they would kill any mutant
        return {name: (seconds[name], reached[name]) for name in seconds if name not in failed}

    def start(self, mutant: mutants.Mutant, seconds: Mapping[str, float]) -> forks.Fork:
        """Starts a fork that runs tests on a mutant, in their order, to the first failure.

        `seconds` has the processor time of each test without a mutant. The result is the name of
        the test that failed, an empty text if none did, or `import` if the mutant needs a new
        import.
        """
        limit = sum(map(limit_of, seconds.values()))
        return forks.Fork(lambda: self._test(mutant, seconds), limit)

    def _test(self, mutant: mutants.Mutant, seconds: Mapping[str, float]) -> str:
        source, mutated = mutants.apply(self.root, mutant)
        try:
            in_place.put(self.root / mutant.file, source, mutated, self._functions)
        except in_place.NeedsImport:
            return "import"
        failures = Failures()
        self._session.config.pluginmanager.register(failures)
        items = [self.items[name] for name in seconds]
        for item, following in zip_longest(items, items[1:]):
            limit_next(seconds[item.nodeid])
            self._session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if failures.failed:
                return failures.failed[0]
        return ""


def limit_of(seconds: float) -> float:
    """Returns the processor time that a test may take if it takes `seconds` without a mutant."""
    return 5.0 * seconds + ALLOWANCE


def limit_next(seconds: float) -> None:
    """Ends this process if its next test takes far longer than without a mutant.

    A loop that no longer ends costs seconds that way, and so does waiting for a thread that died.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = int(used.ru_utime + used.ru_stime + limit_of(seconds)) + 1
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
    faulthandler.dump_traceback_later(PAUSE + 20.0 * seconds, exit=True)


def of_package(baseline: Baseline, tests: Sequence[str]) -> Baseline:
    """Returns the part of a baseline that is about the tests of some folders and files."""
    prefixes = tuple(f"{test}{end}" for test in tests for end in ("/", "::"))
    return {name: about for name, about in baseline.items() if name.startswith(prefixes)}


class Chosen(Settings, Failures):
    """Runs the tests that were chosen, in their order, in a process that imports the mutant."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        super().__init__()
        self._seconds = seconds
        self._rank = {name: rank for rank, name in enumerate(seconds)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keeps the chosen tests, fastest first."""
        items[:] = [item for item in items if item.nodeid in self._rank]
        items.sort(key=lambda item: self._rank[item.nodeid])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Limits the time of the test that comes next."""
        limit_next(self._seconds[nodeid])


PYTEST = ["-q", "-p", "no:cacheprovider", "-n", "0", "-s"]


def fresh(copy: Path, mutant: mutants.Mutant, root: Path, seconds: Mapping[str, float]) -> str:
    """Runs tests on a mutant that is imported from `copy`, a copy of the package's directory."""
    source, mutated = mutants.apply(root, mutant)
    file = copy / mutant.file
    file.write_text(mutated, encoding="utf-8")
    os.utime(file, (time.time(), 10 + time.time() % 1e9))  # never that of a compiled file
    sys.path.insert(0, str(copy))
    os.environ["PYTHONPATH"] = str(copy)
    sys.dont_write_bytecode = True
    chosen = Chosen(seconds)
    files = sorted({name.partition("::")[0] for name in seconds})
    try:
        status = pytest.main([*PYTEST, "-x", *files], plugins=[chosen])
    finally:
        file.write_text(source, encoding="utf-8")
    names: list[str] = chosen.failed
    return names[0] if names else "" if status == 0 else f"pytest ended with {status}"


def affordable(baseline: Baseline, tests: Iterable[str], most: float) -> dict[str, float]:
    """Returns the first tests that together take at most `most` seconds, and what each takes."""
    seconds: dict[str, float] = {}
    for name in tests:
        most -= baseline[name][0]
        if most >= 0.0:
            seconds[name] = baseline[name][0]
    return seconds


def reaching(
    baseline: Baseline, root: Path, mutant: mutants.Mutant, longest: float, widely: bool
) -> list[str]:
    """Returns the tests that run the changed statement, fastest first.

    Args:
        baseline: What each test takes and reaches.
        root: The directory that holds the package.
        mutant: The change.
        longest: The most processor time, in seconds, of a test.
        widely: Whether tests that run other lines of the same function count, too.
    """
    path, in_function = root / mutant.file, mutants.scope_of(root / mutant.file, mutant.line)
    lines = set(mutants.lines_of_scope(path, mutant.line))
    if in_function and not widely:
        lines = set(mutants.lines_of_statement(path, mutant.line))

    def reaches(name: str) -> bool:
        return bool(lines & set(baseline[name][1].get(mutant.file, ())))

    # A constant may be used by any module; those of its own come first.
    names = [name for name in baseline if reaches(name) or not in_function]
    names = [name for name in names if baseline[name][0] <= longest]
    return sorted(names, key=lambda name: (not reaches(name), baseline[name][0]))
