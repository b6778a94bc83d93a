"""A training in one process or several: `trainer.py OPTIONS`, with OPTIONS as JSON.

`task`, `callback` and `trainer` are keyword options of these; `loggers` maps class names to theirs.
Several processes share each batch. The first one prints its losses as a JSON list.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

from lightning.pytorch import loggers

from lrtrack.integrations.lightning import LRTrack


def load(path: Path) -> Any:
    """Loads a file beside the tests as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def main(given: dict[str, Any]) -> None:
    """Trains."""
    here = Path(__file__).parent
    digits, modules = load(here.parent / "conftest.py"), load(here / "modules.py")
    seen = []

    class Noting(modules.Module):  # type: ignore[misc, name-defined]
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            part = slice(self.global_rank, None, self.trainer.world_size)
            loss = super().training_step([tensor[part] for tensor in batch], batch_idx)
            seen.append(loss.item())
            self.log("mine", loss, sync_dist=True)
            return loss

    made = [getattr(loggers, name)(**options) for name, options in given["loggers"].items()]
    module = Noting(digits.Digits(**given["task"]))
    callback = LRTrack(**given["callback"])
    modules.fit(module, callback, **{"logger": made, "log_every_n_steps": 4, **given["trainer"]})
    if module.global_rank == 0:
        print(json.dumps(seen))
    if module.trainer.world_size > 1:
        sys.stdout.flush()
        os._exit(0)  # torch may abort at shutdown: see EXIT_WITHOUT_SHUTDOWN in tests/fixtures


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
