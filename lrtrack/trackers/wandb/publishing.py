"""Keeping a report beside the runs that it is about.

`publish` starts `python -m lrtrack.trackers.wandb.publishing`: a W&B run needs a process of its
own, as `writer.py` says. The order comes on stdin as JSON, the answer is one line on stdout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lrtrack.errors import TrackerError, TrackerUnavailable, UsageError, warn
from lrtrack.settings import redact
from lrtrack.trackers.base import REPORT, Publication, Query, Remote
from lrtrack.trackers.wandb import destination
from lrtrack.trackers.wandb.client_settings import failure
from lrtrack.trackers.wandb.writer import FILE_ATTEMPTS, FILE_PAUSE, LOOKS, PAUSE

#: W&B's id of the run: with the same one, W&B goes on with the run that is there.
ID = "lrtrack-report"
#: Ids tried in all: W&B never gives a deleted run's id again.
_ATTEMPTS = 10
#: Seconds that W&B may take in all.
_PATIENCE = 300.0
_PAGE = "panel.html"


def publish(publication: Publication, query: Query) -> Remote:
    """Log the report's page as a panel, and put its files among the run's.

    The run has no config key `lrtrack`, by which trainings are found. W&B keeps the panels of
    earlier times under their steps.

    Raises:
        UsageError: there is no API key, or W&B is switched off.
    """
    target = destination.apart(None, query.experiment, "lrtrack")
    environment = dict(target.environment)
    if query.uri:
        environment["WANDB_BASE_URL"] = query.uri
    if destination.mode(environment) == "disabled":
        raise UsageError("W&B is switched off by WANDB_MODE or WANDB_DISABLED.")
    entity, _, project = (target.experiment or "").rpartition("/")
    with tempfile.TemporaryDirectory(prefix="lrtrack-") as folder:
        for name, content in {**publication.files, _PAGE: publication.page.encode()}.items():
            (Path(folder) / name).write_bytes(content)
        answer = _ask(
            environment,
            entity=entity or None,
            project=project,
            from_=folder,
            files=list(publication.files),
            folder=publication.folder,
            panel=f"report/{publication.metric}",
            notes=publication.headline,
        )
    if answer["missing"]:
        warn(
            f"The report is in the W&B run {answer['id']}, but W&B's file storage did not take "
            f"{', '.join(answer['missing'])}. Fix: allow uploads from here, or use --output."
        )
    return Remote(answer["id"], answer["url"])


def _ask(environment: dict[str, str], **order: Any) -> dict[str, Any]:
    """Have the order done by a process of its own."""
    kept = {name: text for name, text in os.environ.items() if not destination.of_another_run(name)}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "lrtrack.trackers.wandb.publishing"],
            env=kept | environment,
            input=json.dumps(order),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise TrackerUnavailable(f"W&B has not answered for {_PATIENCE:.0f} s") from None
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        said = done.stderr.strip().splitlines()[-1:] or ["without a word"]
        raise TrackerError(f"the process that writes to W&B ended: {redact(said[0])}") from None
    if "error" in answer:
        kind = TrackerError if answer["final"] else TrackerUnavailable
        raise kind(redact(answer["error"]))
    return answer


def _done(order: dict[str, Any]) -> dict[str, Any]:
    """Do the order: this is the other process."""
    import wandb

    run = _opened(order)
    page = (Path(order["from_"]) / _PAGE).read_text(encoding="utf-8")
    run.log({order["panel"]: wandb.Html(page, inject=False)})
    inside = Path(run.dir) / order["folder"]
    inside.mkdir(parents=True, exist_ok=True)
    for name in order["files"]:
        shutil.copy(Path(order["from_"]) / name, inside / name)
        run.save(str(inside / name), base_path=run.dir, policy="now")
    found = {"id": run.id, "url": run.url}
    online = not run.offline
    run.finish()
    names = [f"{order['folder']}/{name}" for name in order["files"]]
    return {**found, "missing": _missing(run, names) if online else []}


def _missing(run: Any, names: list[str]) -> list[str]:
    """Which files W&B does not have: its client gives up on uploads without a word."""
    import wandb

    for _ in range(LOOKS):
        stored = wandb.Api().run(f"{run.entity}/{run.project}/{run.id}").files(names)
        missing = set(names) - {file.name for file in stored if file.size}
        if not missing:
            return []
        time.sleep(PAUSE)
    return sorted(missing)


def _opened(order: dict[str, Any]) -> Any:
    """The project's report run, gone on with or new."""
    import wandb

    settings = wandb.Settings(
        console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True,
        init_timeout=30.0, x_file_transfer_retry_max=FILE_ATTEMPTS,
        x_file_transfer_retry_wait_max_seconds=FILE_PAUSE,
    )  # fmt: skip
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return wandb.init(
                id=ID if attempt == 1 else f"{ID}-{attempt}",
                name=REPORT,
                entity=order["entity"],
                project=order["project"],
                job_type="report",
                notes=order["notes"],
                resume="allow",
                settings=settings,
            )
        except wandb.errors.Error as error:
            if "deleted" not in str(error) or attempt == _ATTEMPTS:
                raise
    raise AssertionError("not reached")


def main() -> None:
    """Answer one order."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever W&B prints is not the answer
    try:
        answer = _done(json.load(sys.stdin))
    except BaseException as error:  # W&B raises KeyboardInterrupt and SystemExit at times
        answer = failure(error)
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
