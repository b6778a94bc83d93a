"""Writing one run to W&B: the master's end of the process that holds the run."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lrtrack.errors import PartRefused, SinkLost, TrackerError, TrackerUnavailable
from lrtrack.journal import history_table
from lrtrack.records import Run, State, StepRecord, Target
from lrtrack.settings import redact
from lrtrack.trackers import shared_runs
from lrtrack.trackers.base import Remote
from lrtrack.trackers.wandb import destination, metadata, service

#: Seconds that W&B may take to open a run, and that any answer is waited for at one attempt.
OPENING, ANSWER = 30.0, 30.0
#: Orders without which a run can be ended all the same.
_OPTIONAL = ("upload", "complete")
_NOT_STORED = (
    "W&B's file storage did not take it. Fix: allow uploads from here to that storage; "
    "debug-internal.log of the run, under ./wandb, says what it answered"
)


class WandbSink:
    """The writing half for one run; its process starts with `open` and ends with `close`.

    Args:
        run: the run to write.
        target: where it goes, as the training process decided.
        remote_id: W&B's run id, where the run was opened before.
    """

    #: Where the process may keep temporary files; None: where the system says.
    temporary: Path | None = None

    def __init__(self, run: Run, target: Target, remote_id: str | None) -> None:
        self._run = run
        self._target = target
        self._environment = destination.recorded(target)
        self._id = remote_id or target.run_id or shared_runs.head(target) or run.id
        self._again = remote_id is not None or target.continued
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()
        self._asked: str | None = None
        self._token = self._environment.get("WANDB_SERVICE", "") if target.joined else ""
        self._attached = service.answers(self._token)
        # Rows handed to the user's open run offline are in its files, and nobody can be asked.
        self._unasked = target.joined and destination.mode(self._environment) == "offline"

    @property
    def durable(self) -> bool:
        """Whether rows that were taken are kept for good.

        W&B's client takes rows long before its server has them, so a run of its own is delivered
        again from its beginning and rows that the server has are left out. The service of a user's
        open run keeps what it has taken like the user's own rows, and W&B's server may not show
        them for long: asking the server and writing again would store steps twice.
        """
        return self._attached or self._unasked

    def open(self) -> Remote:
        """Start the process, and find or create the run there.

        Where the user's process turns out to have ended, the sink is not `durable` any more.
        """
        self._look_for_service()
        answer = self._ask_to_open()
        if answer.get("gone"):
            self._attached = False
            if not self._unasked:  # what the service had taken may not have arrived
                self._again = True
                self.release()
                answer = self._ask_to_open()
        self._again = True
        return Remote(answer["id"], answer["url"])

    def _ask_to_open(self) -> dict[str, Any]:
        if self._process is None:
            self._process = self._start()
        entity, _, project = (self._target.experiment or "").rpartition("/")
        return self._ask(
            "open",
            wait=OPENING + ANSWER,
            id=self._id,
            entity=entity or None,
            project=project or None,
            joined=self._target.joined,
            attach=self._attached,
            offline=self._unasked,
            again=self._again,
            rewritten=self._id == self._run.id and not self._target.continued,
            config=self._config(),
            tags=metadata.tags(self._run),
            told=self._told(),
            settings={"program": self._run.source or "python", "host": self._run.host or None},
            timeout=OPENING,
        )

    def _look_for_service(self) -> None:
        """Notice that the user's process, whose service kept the rows, has ended."""
        self._attached = self._attached and service.answers(self._token)

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        """Log the records; the process leaves out what the run has already."""
        rows = [(record.step, record.time, dict(record.metrics)) for record in records]
        self._ask("write", rows=rows, doubt=doubt and self.durable)

    def upload(self, history: Path) -> None:
        """Put the columnar file among the run's files."""
        if self._asked != "close":  # else it is there already, and the run is being ended
            name = f"{history_table.FOLDER}/{history_table.NAME}"
            complete = self._target.continued
            shared = self._target.joined or bool(self._target.phases)
            rows = complete or bool(self._target.phases)
            self._ask("upload", path=str(history), name=name, complete=complete, shared=shared,
                      rows=rows)  # fmt: skip

    def complete(self, run: Run) -> None:
        """Say what the run has found out, in its config and its notes."""
        if self._asked == "close":  # it is there already
            return
        told = metadata.notes(run, self._target)
        notes = told if "WANDB_NOTES" not in self._environment else None
        config = {metadata.CONFIG: metadata.config(run, self._target)}
        self._ask("complete", config=config, notes=notes, codes=metadata.codes(run))

    def close(self, state: State, ended: float, summary: Mapping[str, float]) -> None:
        """End the run where lrtrack opened it, and wait until W&B's server has everything.

        Raises:
            PartRefused: W&B has all of it but the columnar file.
        """
        code = 0 if state is State.FINISHED else 1
        answer = self._ask("close", summary=dict(summary), exit_code=code)
        self.release()
        if answer.get("missing"):
            raise PartRefused(_NOT_STORED, answer["missing"])

    def release(self) -> None:
        """End the process; what it has not sent is delivered by the next one."""
        process, self._process, self._asked = self._process, None, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.wait()

    def _config(self) -> dict[str, Any]:
        """The run's config; in a run of the user's nothing but lrtrack's one key."""
        own = {metadata.CONFIG: metadata.config(self._run, self._target)}
        return own if self._target.joined else {**self._run.config, **own}

    def _told(self) -> dict[str, Any]:
        """Arguments of `wandb.init` that the environment may have decided already."""
        environ = self._environment
        found = {"notes": metadata.notes(self._run, self._target)}
        found = {} if "WANDB_NOTES" in environ else found
        if "WANDB_NAME" not in environ:
            found["name"] = self._run.name
        if self._run.group is not None:
            found["group"] = self._run.group
        return found

    def _start(self) -> subprocess.Popen[str]:
        mine = {
            name: text for name, text in os.environ.items() if not destination.of_another_run(name)
        }
        temporary = {}
        if self.temporary is not None:
            self.temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary["TMPDIR"] = str(self.temporary)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lrtrack.trackers.wandb.writer"],
            env=mine | self._environment | temporary,
            cwd=self._run.cwd if Path(self._run.cwd).is_dir() else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._answers = queue.Queue()
        reader = threading.Thread(
            target=_read, args=(process, self._answers), name="lrtrack-wandb", daemon=True
        )
        reader.start()
        return process

    def _ask(self, do: str, wait: float = ANSWER, **order: Any) -> dict[str, Any]:
        """Give an order and wait for its answer.

        An order that was not answered in time is not given again: its answer is waited for at
        the next attempt.
        """
        if self._process is None and self.durable and do != "open":
            self._reopen()
        process = self._process
        if process is None or process.stdin is None:
            raise SinkLost("the process that writes to W&B is gone")
        while self._asked not in (None, do):
            self._answer(wait)
        if self._asked is None:
            try:
                process.stdin.write(json.dumps({"do": do, **order}) + "\n")
                process.stdin.flush()
            except (OSError, ValueError) as error:  # broken, or closed by `release`
                self._lost(error)
            self._asked = do
        elif do == "write":  # answered are other rows, perhaps: these go out again
            self._answer(wait)
            return self._ask(do, wait, **order)
        return self._answer(wait)

    def _reopen(self) -> None:
        self.open()
        if not self.durable:
            self._lost(None)

    def _answer(self, wait: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=wait)
        except queue.Empty:
            raise TrackerUnavailable(f"W&B has not answered for {wait:.0f} s") from None
        if not line:
            self._lost(None)
        asked, self._asked = self._asked, None
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer and asked in _OPTIONAL:
            raise TrackerError(redact(answer["error"]))  # the run itself may still be ended
        if "error" in answer:
            self.release()
            self._look_for_service()
            text, again = redact(answer["error"]), TrackerUnavailable if self.durable else SinkLost
            raise TrackerError(text, answer.get("fix", "")) if answer["final"] else again(text)
        return answer

    def _lost(self, error: Exception | None) -> None:
        self.release()
        self._look_for_service()
        kind = TrackerUnavailable if self.durable else SinkLost
        raise kind("the process that writes to W&B has ended") from error


def _read(process: subprocess.Popen[str], into: queue.Queue[str]) -> None:
    assert process.stdout is not None
    with process.stdout as answers:
        for line in answers:
            into.put(line)
    into.put("")  # the process has ended
