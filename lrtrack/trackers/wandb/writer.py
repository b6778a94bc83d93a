"""`python -m lrtrack.trackers.wandb.writer`: the process that holds one W&B run at a time.

W&B keeps one run, one service and one set of environment variables per process, may take very long
to finish a run, and must not be interrupted meanwhile. So each run has a process, which the sink
can end. After a run of lrtrack's own it waits a while for another one, because importing wandb and
starting its service take seconds. Commands come on stdin as JSON, one per line; the reply to each
is one line on stdout.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

from lrtrack.records import rewinds_from
from lrtrack.settings import collect_rarely
from lrtrack.trackers.per_run import step_of
from lrtrack.trackers.wandb import arrival, metadata, shutdown, uploaded_rows
from lrtrack.trackers.wandb.client_settings import Reply, failure, run_settings
from lrtrack.trackers.wandb.history_file import earlier_blocks, join, stored_steps, surviving
from lrtrack.trackers.wandb.replies import read_commands, take_output

#: Seconds after which the process ends if it has no run; see `writer_process.KEPT`.
IDLE = 6.0


class Writer:
    """One W&B run, from `open` to `close`."""

    def __init__(self) -> None:
        self._run: Any = None
        self.joined = False
        self._defined: set[str] = set()
        self._uploaded: list[uploaded_rows.UploadedRow] = []
        self._stored: dict[int, set[str]] = {}
        self._rewound = False
        self._last = -1
        self._last_names: set[str] = set()
        self._file: str | None = None
        self._attached = False
        self._initial_summary: dict[str, Any] = {}  # the service's, when this process attached
        self._fetched_stored = False
        self._superseded: list[Path] = []

    def open(self, command: dict[str, Any]) -> Reply:
        """Create the run, resume it or attach to it; reply with its id and page.

        If the user's open run no longer exists, the reply has `gone`. Online, nothing is opened
        then: the server must first be asked which rows the service sent.
        """
        self.joined, gone = command["joined"], False
        if self.joined and command["attach"]:
            gone = not self._attach(command)
            if gone and not command["offline"]:
                return {"id": command["id"], "url": None, "gone": True}
        if not self._attached:
            self._init(command)
            # The run may exist although the cursor that recorded it is lost.
            again = command["again"] or (self._run.resumed and not self.joined)
            if again and not self._run.offline:
                self._fetch_stored()
            if command["rewritten"] and self._run.offline:
                self._superseded = uploaded_rows.superseded_folders(
                    Path(self._run.dir).parent, command["id"]
                )
        self._run.define_metric(metadata.STEP, hidden=True)
        return {"id": self._run.id, "url": self._run.url, "gone": gone}

    def _attach(self, command: dict[str, Any]) -> bool:
        """Attach to the run that is open in the user's process, through that process's service."""
        import wandb

        try:
            attach: Any = vars(wandb)["_attach"]
            run = attach(attach_id=command["id"])
        except Exception as error:
            print(f"cannot attach to run {command['id']}: {error}", file=sys.stderr)
            os.environ.pop("WANDB_SERVICE", None)
            wandb.teardown()
            return False
        self._run, self._attached = run, True
        self._initial_summary = self._service_summary()
        self._describe(command)
        return True

    def _describe(self, command: dict[str, Any]) -> None:
        """Add lrtrack's config and tags to the user's run."""
        self._run.config.update(command["config"], allow_val_change=True)
        missing = [tag for tag in command["tags"] if tag not in (self._run.tags or ())]
        if missing:
            self._run.tags = (*(self._run.tags or ()), *missing)

    def _init(self, command: dict[str, Any]) -> None:
        import wandb

        os.environ.pop("WANDB_SERVICE", None)
        settings = run_settings(command["timeout"], **command["settings"])
        if settings.mode == "shared" and self.joined:  # others may still write to it
            settings.x_primary = settings.x_update_finish_state = False
        arguments = {} if self.joined else command["init"]
        self._run = wandb.init(
            id=command["id"],
            entity=command["entity"],
            project=command["project"],
            resume="must" if self.joined else "allow",
            config=None if self.joined else command["config"],
            tags=None if self.joined else command["tags"],
            settings=settings,
            **arguments,
        )
        shutdown.limit_wait(started=True)
        if self.joined:
            self._describe(command)

    def _fetch_stored(self) -> None:
        """Find out which rows the server has."""
        shared = self._run.settings.mode == "shared"
        fetch = uploaded_rows.settled_rows_of if shared else uploaded_rows.rows_of
        self._uploaded = fetch(self._on_server)
        self._stored = uploaded_rows.metrics_by_step(self._uploaded)

    def rewind(self, command: dict[str, Any]) -> Reply:
        """Let steps be logged again; reply with the last abandoned step and the time of the return.

        W&B cannot delete rows. The later rows of a step count, by their `_timestamp`.
        """
        step, when, last = command["step"], command["time"], command["last"]
        if command["continued"]:  # the earlier rows may come from another machine
            when = max([when, *(row.time + 0.002 for row in self._uploaded)])
            last = max([last, *(row.step for row in self._uploaded)])
        kept = [row for row in self._uploaded if row.step < step or row.time >= when]
        self._uploaded, self._stored = kept, uploaded_rows.metrics_by_step(kept)
        self._last, self._last_names = min(self._last, step - 1), set()
        self._rewound = True
        return {"time": when, "last": last}

    def describe(self, command: dict[str, Any]) -> Reply:
        """Update the run's config."""
        self._run.config.update(command["config"], allow_val_change=True)
        return {}

    def _on_server(self) -> Any:
        """Fetch the run from W&B's server."""
        import wandb

        run = self._run
        return wandb.Api().run(f"{run.entity}/{run.project}/{run.id}")

    def write(self, command: dict[str, Any]) -> Reply:
        """Log rows of (step, time, metrics), without those that were logged before."""
        rows = self._not_accepted(command["rows"]) if command["doubt"] else command["rows"]
        for step, when, metrics in rows:
            names = self._stored.get(step, set())
            if step < self._last:
                continue
            if step == self._last:
                names = names | self._last_names
            else:
                self._last, self._last_names = step, set()
            self._last_names.update(metrics)
            fresh = {name: value for name, value in metrics.items() if name not in names}
            if fresh:
                self._define(fresh)
                self._run.log({**fresh, metadata.STEP: step, "_timestamp": when})
        if (
            self._attached
            and self._last >= 0
            and self._service_summary().get(metadata.STEP) is None
        ):
            raise ConnectionError(f"run {self._run.id} does not accept rows")
        return {}

    def _service_summary(self) -> dict[str, Any]:
        """The run's summary; the service returns it after it has accepted all earlier rows."""
        return dict(self._run.summary._as_dict())

    def _not_accepted(self, rows: list[Any]) -> list[Any]:
        """The rows that the service did not accept in an earlier attempt, whose reply was lost.

        The service's summary shows them. W&B's server may get them later or, offline, never.
        """
        if self._attached:
            last_step = step_of(self._initial_summary.get(metadata.STEP))
            if last_step is None:
                return rows  # this run has no steps yet
            if (last := uploaded_rows.last_accepted(rows, self._initial_summary)) is not None:
                return rows[last + 1 :]
            if self._run.offline and not self._rewound:
                return [row for row in rows if row[0] > last_step]
        if not self._run.offline and not self._fetched_stored:
            self._fetched_stored = True
            self._fetch_stored()
        return rows

    def _define(self, names: dict[str, float]) -> None:
        for name in names:
            pattern = metadata.metric_pattern(name)
            if pattern not in self._defined:
                self._defined.add(pattern)
                self._run.define_metric(pattern, step_metric=metadata.STEP)

    def upload(self, command: dict[str, Any]) -> Reply:
        """Store the columnar file with the run's files, merged with stored steps."""
        file, destination = Path(command["path"]), Path(self._run.dir) / command["name"]
        if command["complete"]:
            stored = self._steps_on_server({command["prefix"]: rewinds_from(command["rewinds"])})
            join(file, [file, stored])  # stored rows take precedence
        destination.parent.mkdir(parents=True, exist_ok=True)
        whole = destination.with_name(f".{destination.name}.{uuid.uuid4().hex}")
        shutil.copy(file, whole)
        if command["shared"] and not command["complete"]:
            fetch = None if self._run.offline else self._steps_on_server
            earlier = earlier_blocks(destination, command["rows"], fetch)
            join(whole, [surviving(earlier, command, self._run.config), whole])
        whole.replace(destination)
        self._file = command["name"]
        self._run.save(str(destination), base_path=self._run.dir, policy="now")
        return {}

    def complete(self, command: dict[str, Any]) -> Reply:
        """Update config, notes and diagnosis codes of the run."""
        self._run.config.update(command["config"], allow_val_change=True)
        if command["notes"] is not None and not self.joined:
            self._run.notes = command["notes"]
        if command["name"] is not None and not self.joined:
            self._run.name = command["name"]
        if command["tags"] is not None:
            old, new = command["tags"]
            kept = [tag for tag in self._run.tags or () if tag not in old]
            self._run.tags = tuple(dict.fromkeys([*kept, *new]))
        stored = self._run.summary.get(metadata.DIAGNOSES)
        # Other blocks of a joined run have their own codes.
        earlier = str(stored or "").split() if self.joined else []
        codes = " ".join(dict.fromkeys([*earlier, *command["codes"]]))
        if codes != (stored or ""):
            self._run.summary[metadata.DIAGNOSES] = codes
        for code, (title, text) in command["alerts"].items():
            if code not in str(stored or "").split():
                self._run.alert(title, text, level="WARN")
        return {}

    def _steps_on_server(self, rewinds: Any = None) -> Any:
        """All surviving steps that the server has, as a table."""
        return stored_steps(self._on_server(), rewinds)

    def close(self, command: dict[str, Any]) -> Reply:
        """Store the summary, and end the run if lrtrack opened it."""
        run = self._run
        run.summary.update(command["summary"])
        if self._attached:
            self._service_summary()
            return {}
        last = -1 if run.offline or run.settings.mode == "shared" else run.step - 1
        run.finish(exit_code=command["exit_code"])
        for folder in self._superseded:
            shutil.rmtree(folder, ignore_errors=True)
        if last >= 0:
            arrival.check_last_row(self._on_server, run.id, last)
            if self._file is not None and not arrival.has_file(self._on_server, self._file):
                return {"missing": self._file}
        return {}


def main() -> None:
    """Execute commands until the run is closed, and no other one follows."""
    collect_rarely()
    replies = take_output()
    writer, commands = Writer(), read_commands()
    idle: float | None = None
    while True:
        try:
            command = commands.get(timeout=idle)
        except queue.Empty:
            os._exit(0)
        idle = None
        try:
            reply = getattr(writer, command["do"])(command)
        except BaseException as error:  # W&B may raise KeyboardInterrupt and SystemExit
            reply = failure(error)
        print(json.dumps(reply), file=replies, flush=True)
        if command["do"] == "close" and "error" not in reply:
            if writer.joined:
                os._exit(0)  # W&B's exit hooks would wait for the owner of a joined run
            writer, idle = Writer(), IDLE


if __name__ == "__main__":
    main()
