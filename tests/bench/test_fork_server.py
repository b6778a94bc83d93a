"""The process that forks for each loop of the benchmark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_each_loop_has_its_own_process(
    benchmark_module: Callable[[str], Any], tmp_path: Path
) -> None:
    """A loop runs in its own directory, and one that fails says why and leaves the next alone.

    The process that forks imports torch anew, which takes seconds.
    """
    fork_server = benchmark_module("fork_server")
    folder = tmp_path / "loop"
    folder.mkdir()
    with fork_server.running() as server:
        logged = server.run("tensorboard", 2, 1, folder)
        with pytest.raises(SystemExit, match=r"lrtrack failed:(?s:.)*Unknown tracker 'none-such'"):
            server.run("lrtrack", 2, 1, folder, LRTRACK_TRACKER="none-such")
        bare = server.run("bare", 3, 1, folder)

    assert [path.name for path in folder.iterdir()] == ["runs"]
    assert sorted(logged) == sorted(bare) == ["after", "loop", "median", "p999"]
    assert bare["loop"] > 0
