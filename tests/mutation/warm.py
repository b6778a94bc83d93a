"""The pytest plugin that collects the tests once, and then tests mutant after mutant in forks."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

import coverage
import forks
import in_place
import mutants
import pytest

#: Seconds of processor time for a mutant, besides five times what its tests take without one.
ALLOWANCE = 20.0
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
            "mutation", deadline=None, derandomize=True, database=None
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
        """Returns what each test takes and reaches of some packages; from `file` if it exists."""
        if not file.exists():
            items = list(self.items.values())
            result = forks.in_fork(lambda: self._measure(packages, items), 7200.0, nice=False)
            if result is None:
                raise SystemExit("The tests do not run to their end without a mutant.")
            file.write_text(json.dumps(result), encoding="utf-8")
        return json.loads(file.read_text(encoding="utf-8"))  # type: ignore[no-any-return]

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

    def start(self, mutant: mutants.Mutant, tests: Sequence[str], seconds: float) -> forks.Fork:
        """Starts a fork that runs the tests on a mutant, to the first failure.

        Its result is the name of the test that failed, an empty text if none did, or `import` if
        the mutant needs a new import.
        """
        return forks.Fork(lambda: self._test(mutant, tests), 5.0 * seconds + ALLOWANCE)

    def _test(self, mutant: mutants.Mutant, tests: Iterable[str]) -> str:
        source, mutated = mutants.apply(self.root, mutant)
        try:
            in_place.put(self.root / mutant.file, source, mutated, self._functions)
        except in_place.NeedsImport:
            return "import"
        failures = Failures()
        self._session.config.pluginmanager.register(failures)
        items = [self.items[name] for name in tests]
        for item, following in zip_longest(items, items[1:]):
            self._session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if failures.failed:
                return failures.failed[0]
        return ""


def of_package(baseline: Baseline, tests: Sequence[str]) -> Baseline:
    """Returns the part of a baseline that is about the tests of some folders and files."""
    prefixes = tuple(f"{test}{end}" for test in tests for end in ("/", "::"))
    return {name: about for name, about in baseline.items() if name.startswith(prefixes)}


class Chosen(Settings, Failures):
    """Runs the tests that were chosen, in their order, in a process that imports the mutant."""

    def __init__(self, tests: Sequence[str]) -> None:
        super().__init__()
        self._rank = {name: rank for rank, name in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keeps the chosen tests, fastest first."""
        items[:] = [item for item in items if item.nodeid in self._rank]
        items.sort(key=lambda item: self._rank[item.nodeid])


PYTEST = ["-q", "-p", "no:cacheprovider", "-n", "0", "-s"]


def fresh(copy: Path, mutant: mutants.Mutant, root: Path, tests: Sequence[str]) -> str:
    """Runs tests on a mutant that is imported from `copy`, a copy of the package's directory."""
    source, mutated = mutants.apply(root, mutant)
    file = copy / mutant.file
    file.write_text(mutated, encoding="utf-8")
    os.utime(file, (time.time(), 10 + time.time() % 1e9))  # never that of a compiled file
    sys.path.insert(0, str(copy))
    os.environ["PYTHONPATH"] = str(copy)
    sys.dont_write_bytecode = True
    chosen = Chosen(tests)
    files = sorted({name.partition("::")[0] for name in tests})
    try:
        status = pytest.main([*PYTEST, "-x", *files], plugins=[chosen])
    finally:
        file.write_text(source, encoding="utf-8")
    names: list[str] = chosen.failed
    return names[0] if names else "" if status == 0 else f"pytest ended with {status}"


def seconds_of(baseline: Baseline, tests: Iterable[str]) -> float:
    """Returns the processor time that tests take."""
    return sum(baseline[name][0] for name in tests)


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
    names = [name for name in baseline if reaches(name) or (not in_function and baseline[name][1])]
    names = [name for name in names if baseline[name][0] <= longest]
    return sorted(names, key=lambda name: (not reaches(name), baseline[name][0]))
