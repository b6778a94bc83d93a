"""Changes lrtrack's code in small ways, and finds the changes that no test notices.

    mutate.py [--package PACKAGE …] [--sample N] [--seed N] [--jobs N] [--nice N]
              [--again] [--config FILE] [--out DIR] [MODULE …]

`tox -e mutation` runs it. cosmic-ray makes the mutants. It does not run them: a new pytest for each
would spend seconds on importing torch, MLflow and the tests. Here one process imports and collects
everything; each mutant gets a fork of it, which changes the functions in memory and runs the tests
that reach the changed line, fastest first, until one fails or their time is used up. What happens
only on import, such as a decorator or the default of a dataclass' field, gets a fork that imports
lrtrack anew from a changed copy.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import forks  # noqa: E402
import mutants as changes  # noqa: E402
import results  # noqa: E402
import warm  # noqa: E402

#: What each test takes and reaches; remove it after changes of the tests.
_BASELINE = "tests.json"
#: What the tests import and mutants never change.
_IMPORTED_ONCE = ("torch", "pyarrow.parquet", "scipy.stats", "pandas", "_pytest")

#: Seconds of processor time for importing lrtrack and the tests, at most.
_FOR_IMPORTS = 150.0


@dataclass(frozen=True)
class Job:
    """A package to test mutants of, and what to do with it."""

    package: str
    tests: tuple[str, ...]
    size: int
    seed: int
    files: tuple[str, ...]
    out: Path
    jobs: int
    longest: float
    most: float
    again: bool


def main() -> int:
    """Tests the mutants, and prints those that survive."""
    options = _arguments()
    os.environ["LRTRACK_QUICK"] = "1"
    os.environ["OMP_NUM_THREADS"] = "1"
    options.config, options.out = options.config.resolve(), options.out.resolve()
    forks.NICENESS = options.nice
    os.chdir(HERE.parents[1])
    for name in _IMPORTED_ONCE:
        importlib.import_module(name)
    config = tomllib.loads(options.config.read_text(encoding="utf-8"))
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [
        Job(
            package,
            tuple(packages["tests"]),
            config["sample"] if options.sample is None else options.sample,
            config["seed"] if options.seed is None else options.seed,
            tuple(options.files),
            options.out,
            options.jobs,
            config["longest"],
            config["most"],
            options.again,
        )
        for package, packages in config["packages"].items()
        if not options.package or package in options.package
    ]
    tests = sorted({test for job in jobs for test in job.tests})
    if not forks.in_fork(lambda: _collect(jobs, tests, config["left_out"]), 1e6, nice=False):
        return 1
    for job in jobs:
        _test_by_import(job)
        print(results.summary(job.out / f"{_name(job)}.json", HERE / "equivalent.toml"))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="*", help="only mutants of these modules")
    parser.add_argument("--package", action="append", help="such as lrtrack/stats")
    parser.add_argument("--sample", type=int, help="mutants of each package; 0: all")
    parser.add_argument("--seed", type=int, help="chooses the sample")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at the same time")
    parser.add_argument("--nice", type=int, default=forks.NICENESS, help="makes way for others")
    parser.add_argument("--again", action="store_true", help="not what the last run killed")
    parser.add_argument("--config", type=Path, default=HERE / "mutation.toml", help="what to run")
    parser.add_argument("--out", type=Path, default=Path("build/mutation"), help="where results go")
    return parser.parse_args()


def _name(job: Job) -> str:
    return job.package.rpartition("/")[2]


def _collect(jobs: Sequence[Job], tests: Sequence[str], left_out: Sequence[str]) -> bool:
    import pytest

    def then(collected: warm.Collected) -> None:
        packages = [job.package for job in jobs]
        baseline = collected.baseline(packages, jobs[0].out / _BASELINE)
        for job in jobs:
            _test_in_place(job, collected, warm.of_package(baseline, job.tests))

    arguments = [*warm.PYTEST, *tests, *(f"--ignore={each}" for each in left_out)]
    return pytest.main(arguments, plugins=[warm.Warm(then)]) in (0, 5)


def _test_in_place(job: Job, collected: warm.Collected, baseline: warm.Baseline) -> None:
    root, name = collected.root, _name(job)
    every = changes.mutants_of(root, job.package)
    if job.files:
        every = [each for each in every if each.file in job.files]
    drawn = changes.sample(root, every, job.size, job.seed)
    killers = _killers(job)
    found = _killed_before(job, root, drawn) if job.again else []
    done = {_key(each) for each in found}
    os.nice(forks.NICENESS - os.nice(0))
    waiting = [each for each in drawn if _key(asdict(each)) not in done]
    running: list[tuple[changes.Mutant, int, forks.Fork]] = []
    while waiting or running:
        while waiting and len(running) < job.jobs:
            mutant = waiting.pop(0)
            tests = warm.reaching(baseline, root, mutant, job.longest, widely=False)
            last = killers.get(_key(asdict(mutant)), "")
            tests.sort(key=lambda name: name != last)
            seconds = warm.affordable(baseline, tests, job.most)
            if seconds:
                running.append((mutant, len(seconds), collected.start(mutant, seconds)))
            else:
                found.append(_finding(root, mutant, 0, ""))
        for each in [each for each in running if each[2].poll()]:
            running.remove(each)
            found.append(_finding(root, each[0], each[1], each[2].result()))
            with (job.out / f"{name}.log").open("a", encoding="utf-8") as log:
                log.write(json.dumps(found[-1]) + "\n")
        time.sleep(0.01)
    _write(job, root, len(every), found)


def _killed_before(job: Job, root: Path, drawn: Sequence[changes.Mutant]) -> list[dict[str, Any]]:
    """Returns the results of the last run for mutants of the same text that were killed."""
    file = job.out / f"{_name(job)}.json"
    if not file.exists():
        return []
    last = {_key(each): each for each in json.loads(file.read_text(encoding="utf-8"))["sample"]}
    found = []
    for mutant in drawn:
        before = last.get(_key(asdict(mutant)), {"killed_by": ""})
        same = _finding(root, mutant, before.get("tests", 0), before["killed_by"])
        if before["killed_by"] not in ("", "import") and same == before:
            found.append(same)
    return found


def _killers(job: Job) -> dict[tuple[Any, ...], str]:
    """Returns the test that killed a mutant in the last run, which is the first to try."""
    file = job.out / f"{_name(job)}.log"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {_key(each): each["killed_by"] for each in map(json.loads, lines)}


def _key(mutant: dict[str, Any]) -> tuple[Any, ...]:
    return mutant["file"], mutant["operator"], mutant["occurrence"]


def _finding(root: Path, mutant: changes.Mutant, tests: int, outcome: Any) -> dict[str, Any]:
    before, after = changes.changed_lines(*changes.apply(root, mutant))
    return {
        **asdict(mutant),
        "before": before,
        "after": after,
        "tests": tests,
        "killed_by": "a crash or the time limit" if outcome is None else outcome,
    }


def _write(job: Job, root: Path, every: int, found: Sequence[dict[str, Any]]) -> None:
    text = json.dumps(
        {
            "package": job.package,
            "root": str(root),
            "seed": job.seed,
            "mutants": every,
            "sample": list(found),
        },
        indent=1,
    )
    (job.out / f"{_name(job)}.json").write_text(text, encoding="utf-8")


def _test_by_import(job: Job) -> None:
    """Tests the mutants that need an import of their own."""
    file = job.out / f"{_name(job)}.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    root = Path(found["root"])
    every = json.loads((job.out / _BASELINE).read_text(encoding="utf-8"))
    baseline = warm.of_package(every, job.tests)
    left = [each for each in found["sample"] if each["killed_by"] == "import"]
    for each, copy in zip(left, _copies(root, job.out, len(left)), strict=True):
        mutant = changes.Mutant(**{key: each[key] for key in _FIELDS})
        tests = warm.reaching(baseline, root, mutant, job.longest, widely=True)
        seconds = warm.affordable(baseline, tests, job.most)
        outcome = forks.in_fork(
            lambda mutant=mutant, copy=copy, some=seconds: warm.fresh(copy, mutant, root, some),
            5.0 * sum(seconds.values()) + _FOR_IMPORTS,
        )
        each.update(_finding(root, mutant, len(seconds), outcome))
        _write(job, root, found["mutants"], found["sample"])


_FIELDS = ("file", "operator", "occurrence", "line", "column")


def _copies(root: Path, out: Path, count: int) -> Iterator[Path]:
    copy = out / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    if count:
        shutil.copytree(root / "lrtrack", copy / "lrtrack")
    for _ in range(count):
        yield copy
    shutil.rmtree(copy, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
