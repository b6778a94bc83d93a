"""Storing a report in W&B, beside the runs that it compares.

`publish` starts `python -m lrtrack.trackers.wandb.publishing`, because a W&B run needs its own
process; `writer.py` says why. The command comes on stdin as JSON, the reply is a line on stdout.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lrtrack.errors import TrackerError, TrackerUnavailable, UsageError, warn
from lrtrack.redaction import redact
from lrtrack.trackers.base import REPORT, Publication, Query, Remote
from lrtrack.trackers.wandb import destination
from lrtrack.trackers.wandb.arrival import CHECKS, PAUSE
from lrtrack.trackers.wandb.client_settings import failure, inherited_environment, run_settings
from lrtrack.trackers.wandb.replies import take_output

#: W&B's id of the run. W&B resumes the existing run with this id.
ID = "lrtrack-report"
#: The number of ids to try: W&B never accepts the id of a deleted run again.
_ATTEMPTS = 10
#: Seconds to wait for the process, and for W&B to open the run.
_TIMEOUT, _OPEN_TIMEOUT = 300.0, 30.0
_PAGE = "panel.html"


def publish(publication: Publication, query: Query) -> Remote:
    """Log the report's page as a panel, and store its files with the run.

    The run has no config key `lrtrack`, by which training runs are found. W&B keeps the panels of
    earlier reports at their steps.

    Raises:
        UsageError: there is no API key, or W&B is switched off.
    """
    target = destination.separate_target(None, query.experiment, "lrtrack")
    environment = dict(target.environment)
    if query.uri:
        environment["WANDB_BASE_URL"] = query.uri
    if destination.mode(environment) == "disabled":
        raise UsageError(
            "W&B is switched off by WANDB_MODE or WANDB_DISABLED. Fix: unset this variable."
        )
    entity, _, project = (target.experiment or "").rpartition("/")
    with tempfile.TemporaryDirectory(prefix="lrtrack-") as folder:
        for name, content in {**publication.files, _PAGE: publication.page.encode()}.items():
            (Path(folder) / name).write_bytes(content)
        reply = _run_in_process(
            environment,
            entity=entity or None,
            project=project,
            from_=folder,
            files=list(publication.files),
            folder=publication.folder,
            panel=f"report/{publication.metric}",
            notes=publication.headline,
        )
    if reply["missing"]:
        warn(
            f"The report is in the W&B run {reply['id']}, but W&B's file storage did not take "
            f"{', '.join(reply['missing'])}. Fix: allow uploads from here, or use --output."
        )
    return Remote(reply["id"], reply["url"])


def _run_in_process(environment: dict[str, str], **command: Any) -> dict[str, Any]:
    """Run the command in a separate process, and return its reply."""
    try:
        process = subprocess.run(
            [sys.executable, "-P", "-m", "lrtrack.trackers.wandb.publishing"],
            env=inherited_environment() | environment,
            input=json.dumps(command),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise TrackerUnavailable(f"W&B has not answered for {_TIMEOUT:.0f} s") from None
    try:
        reply: dict[str, Any] = json.loads(process.stdout)
    except ValueError:
        lines = process.stderr.strip().splitlines()[-1:] or ["without a message"]
        raise TrackerError(f"the process that writes to W&B ended: {redact(lines[0])}") from None
    if "error" in reply:
        kind = TrackerError if reply["final"] else TrackerUnavailable
        raise kind(redact(reply["error"]))
    return reply


def _execute(command: dict[str, Any]) -> dict[str, Any]:
    """Execute the command, in the separate process."""
    import wandb

    run = _open(command)
    page = (Path(command["from_"]) / _PAGE).read_text(encoding="utf-8")
    run.log({command["panel"]: wandb.Html(page, inject=False)})
    inside = Path(run.dir) / command["folder"]
    inside.mkdir(parents=True, exist_ok=True)
    for name in command["files"]:
        shutil.copy(Path(command["from_"]) / name, inside / name)
        run.save(str(inside / name), base_path=run.dir, policy="now")
    reply = {"id": run.id, "url": run.url}
    online = not run.offline
    run.finish()
    names = [f"{command['folder']}/{name}" for name in command["files"]]
    return {**reply, "missing": _missing(run, names) if online else []}


def _missing(run: Any, names: list[str]) -> list[str]:
    """Find the files that W&B does not have: its client drops failed uploads without an error."""
    import wandb

    for _ in range(CHECKS):
        stored = wandb.Api().run(f"{run.entity}/{run.project}/{run.id}").files(names)
        missing = set(names) - {file.name for file in stored if file.size}
        if not missing:
            return []
        time.sleep(PAUSE)
    return sorted(missing)


def _open(command: dict[str, Any]) -> Any:
    """Resume or create the project's report run."""
    import wandb

    settings = run_settings(_OPEN_TIMEOUT)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return wandb.init(
                id=ID if attempt == 1 else f"{ID}-{attempt}",
                name=REPORT,
                entity=command["entity"],
                project=command["project"],
                job_type="report",
                notes=command["notes"],
                resume="allow",
                settings=settings,
            )
        except wandb.errors.Error as error:
            if "deleted" not in str(error) or attempt == _ATTEMPTS:
                raise
    raise AssertionError("not reached")


def main() -> None:
    """Execute one command."""
    replies = take_output()
    try:
        reply = _execute(json.load(sys.stdin))
    except BaseException as error:  # W&B may raise KeyboardInterrupt and SystemExit
        reply = failure(error)
    print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
