"""`python -m lrtrack.trackers.wandb.writer`: the process that holds one W&B run.

W&B keeps one run, one service and one set of environment variables a process, takes as long as it
likes to finish a run, and may not be interrupted there: so each run gets a process, which its
master can end. Orders come on stdin as JSON, one a line; each is answered by one line on stdout.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

from lrtrack.trackers.per_run import step_of
from lrtrack.trackers.wandb import metadata, shutdown, uploaded_rows
from lrtrack.trackers.wandb.client_settings import Answer, failure
from lrtrack.trackers.wandb.history_file import earlier_blocks, join

#: Attempts at sending a file, and seconds between them: a run ends without the file if it must.
#: W&B's own values would keep the run open for a quarter of an hour.
FILE_ATTEMPTS, FILE_PAUSE = 5, 5.0
#: Looks for a file that was sent, and seconds between two: W&B may list it a little later.
LOOKS, PAUSE = 3, 1.0


class Writer:
    """One W&B run, from `open` to `close`."""

    def __init__(self) -> None:
        self._run: Any = None
        self._joined = False
        self._defined: set[str] = set()
        self._present: dict[int, set[str]] = {}
        self._last = -1
        self._last_names: set[str] = set()
        self._file: str | None = None
        self._attached = False
        self._before: dict[str, Any] = {}  # what the service had when this process came
        self._asked_server = False
        self._superseded: list[Path] = []

    def open(self, order: dict[str, Any]) -> Answer:
        """Create, continue or attach to the run; says its id, page and W&B directory.

        Where the user's open run cannot be attached to, the answer has `gone`, and online nothing
        is opened: what its service has taken is to be asked for first.
        """
        self._joined, gone = order["joined"], False
        if self._joined and order["attach"]:
            gone = not self._attach(order)
            if gone and not order["offline"]:
                return {"id": order["id"], "url": None, "gone": True}
        if not self._attached:
            self._init(order)
            # It may be there already though nobody remembers: a lost cursor tells nothing.
            again = order["again"] or (self._run.resumed and not self._joined)
            if again and not self._run.offline:
                self._present = self._stored()
            if order["rewritten"] and self._run.offline:
                self._superseded = uploaded_rows.superseded(Path(self._run.dir).parent, order["id"])
        self._run.define_metric(metadata.STEP, hidden=True)
        return {"id": self._run.id, "url": self._run.url, "gone": gone}

    def _attach(self, order: dict[str, Any]) -> bool:
        """Write to the run that is open in the user's process, through that process's service."""
        import wandb

        try:
            attach: Any = vars(wandb)["_attach"]
            run = attach(attach_id=order["id"])
        except Exception as error:
            print(f"cannot attach to run {order['id']}: {error}", file=sys.stderr)
            os.environ.pop("WANDB_SERVICE", None)
            wandb.teardown()
            return False
        self._run, self._attached = run, True
        self._before = self._service_has()
        self._add(order)
        return True

    def _add(self, order: dict[str, Any]) -> None:
        """Say in the user's run what lrtrack adds to it."""
        self._run.config.update(order["config"], allow_val_change=True)
        mine = [tag for tag in order["tags"] if tag not in (self._run.tags or ())]
        if mine:
            self._run.tags = (*(self._run.tags or ()), *mine)

    def _init(self, order: dict[str, Any]) -> None:
        import wandb

        os.environ.pop("WANDB_SERVICE", None)
        settings = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            save_code=False,
            x_disable_stats=True,  # this process's load is not the training's
            x_file_transfer_retry_max=FILE_ATTEMPTS,
            x_file_transfer_retry_wait_max_seconds=FILE_PAUSE,
            init_timeout=order["timeout"],
            **order["settings"],
        )
        if settings.mode == "shared" and self._joined:  # others may still write to it
            settings.x_primary = settings.x_update_finish_state = False
        told = {} if self._joined else order["told"]
        self._run = wandb.init(
            id=order["id"],
            entity=order["entity"],
            project=order["project"],
            resume="must" if self._joined else "allow",
            config=None if self._joined else order["config"],
            tags=None if self._joined else order["tags"],
            settings=settings,
            **told,
        )
        shutdown.bound(started=True)
        if self._joined:
            self._add(order)

    def _stored(self) -> dict[int, set[str]]:
        """Which metrics the server has at which steps."""
        shared = self._run.settings.mode == "shared"
        return (uploaded_rows.stored_at_rest if shared else uploaded_rows.stored)(self._on_server)

    def _on_server(self) -> Any:
        """The run as W&B's server has it."""
        import wandb

        run = self._run
        return wandb.Api().run(f"{run.entity}/{run.project}/{run.id}")

    def write(self, order: dict[str, Any]) -> Answer:
        """Log rows of (step, time, metrics); what was logged before is left out."""
        rows = self._not_taken(order["rows"]) if order["doubt"] else order["rows"]
        for step, when, metrics in rows:
            known = self._present.get(step, set())
            if step < self._last:
                continue
            if step == self._last:
                known = known | self._last_names
            else:
                self._last, self._last_names = step, set()
            self._last_names.update(metrics)
            fresh = {name: value for name, value in metrics.items() if name not in known}
            if fresh:
                self._define(fresh)
                self._run.log({**fresh, metadata.STEP: step, "_timestamp": when})
        if self._attached and self._last >= 0 and self._service_has().get(metadata.STEP) is None:
            raise ConnectionError(f"run {self._run.id} takes no rows")
        return {}

    def _service_has(self) -> dict[str, Any]:
        """The run's summary; answered once everything sent before is taken, in every mode."""
        return dict(self._run.summary._as_dict())

    def _not_taken(self, rows: list[Any]) -> list[Any]:
        """The rows that an earlier attempt, whose answer was lost, did not hand to the service.

        W&B's server may not have them yet, and offline there is none: the service itself tells.
        """
        if self._attached:
            last_step = step_of(self._before.get(metadata.STEP))
            if last_step is None:
                return rows  # nobody has written steps to this run yet
            if (at := uploaded_rows.last(rows, self._before)) is not None:
                return rows[at + 1 :]
            if self._run.offline:
                return [row for row in rows if row[0] > last_step]
        if not self._run.offline and not self._asked_server:
            self._asked_server, self._present = True, self._stored()
        return rows

    def _define(self, names: dict[str, float]) -> None:
        for name in names:
            pattern = metadata.defined(name)
            if pattern not in self._defined:
                self._defined.add(pattern)
                self._run.define_metric(pattern, step_metric=metadata.STEP)

    def upload(self, order: dict[str, Any]) -> Answer:
        """Put the columnar file among the run's files, completed by what is there already."""
        file, inside = Path(order["path"]), Path(self._run.dir) / order["name"]
        if order["complete"]:
            join(file, [file, self._rows_on_server()])  # what was there stays as it was
        inside.parent.mkdir(parents=True, exist_ok=True)
        whole = inside.with_name(f".{inside.name}.{os.getpid()}")
        shutil.copy(file, whole)
        if order["shared"] and not order["complete"]:
            ask = None if self._run.offline else self._rows_on_server
            join(whole, [earlier_blocks(inside, order["rows"], ask), whole])
        whole.replace(inside)
        self._file = order["name"]
        self._run.save(str(inside), base_path=self._run.dir, policy="now")
        return {}

    def complete(self, order: dict[str, Any]) -> Answer:
        """Store config, notes and codes of a run that has found out more."""
        self._run.config.update(order["config"], allow_val_change=True)
        if order["notes"] is not None and not self._joined:
            self._run.notes = order["notes"]
        there = self._run.summary.get(metadata.DIAGNOSES)
        # Other blocks of a joined run have codes of their own.
        earlier = str(there or "").split() if self._joined else []
        codes = " ".join(dict.fromkeys([*earlier, *order["codes"]]))
        if codes != (there or ""):
            self._run.summary[metadata.DIAGNOSES] = codes
        return {}

    def _rows_on_server(self) -> Any:
        from lrtrack.trackers.wandb import history_rows

        return history_rows.scanned(self._on_server())

    def close(self, order: dict[str, Any]) -> Answer:
        """Store the summary, and end the run where lrtrack opened it."""
        run = self._run
        run.summary.update(order["summary"])
        if self._attached:
            self._service_has()
            return {}
        last = -1 if run.offline or run.settings.mode == "shared" else run.step - 1
        run.finish(exit_code=order["exit_code"])
        for folder in self._superseded:
            shutil.rmtree(folder, ignore_errors=True)
        if last >= 0:
            self._check(last)
            if self._file is not None and not self._has_file(self._file):
                return {"missing": self._file}
        return {}

    def _has_file(self, name: str) -> bool:
        """Whether W&B has the file: its client gives up on uploads without a word."""
        for _ in range(LOOKS):
            try:
                file = next(iter(self._on_server().files([name])), None)
            except Exception as error:  # the run is ended: the answer is not worth a failure
                print(f"cannot look for {name}: {error}", file=sys.stderr)
                return True
            if file is not None and file.size:
                return True
            time.sleep(PAUSE)
        return False

    def _check(self, last: int) -> None:
        """See to it that W&B has the run's last row: its client gives up without a word."""
        stored = self._on_server().lastHistoryStep
        if stored < last:
            raise ConnectionError(f"has rows up to {stored} of {last} in run {self._run.id}")


def _orders() -> queue.Queue[dict[str, Any]]:
    """Orders as they come; without a master nothing may go on, so this process ends."""
    found: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            found.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return found


def main() -> None:
    """Answer orders until the run is closed."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever W&B prints goes to the log
    writer, orders = Writer(), _orders()
    while True:
        order = orders.get()
        try:
            answer = getattr(writer, order["do"])(order)
        except BaseException as error:  # W&B raises KeyboardInterrupt and SystemExit at times
            answer = failure(error)
        print(json.dumps(answer), file=answers, flush=True)
        if order["do"] == "close" and "error" not in answer:
            os._exit(0)  # W&B's own exit hooks would wait for what a joined run's owner does


if __name__ == "__main__":
    main()
