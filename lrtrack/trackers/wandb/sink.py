"""The sink that writes one run to W&B: it takes a writer process and sends it commands."""

from __future__ import annotations

import json
import queue
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from lrtrack.errors import PartRefused, SinkLost, TrackerError, TrackerUnavailable
from lrtrack.journal import history_table
from lrtrack.journal.layout import private_directory
from lrtrack.records import Rewind, Run, State, StepRecord, Target, rewinds_listed
from lrtrack.redaction import redact
from lrtrack.trackers import shared_runs
from lrtrack.trackers.base import Remote
from lrtrack.trackers.wandb import destination, metadata, service, writer_process
from lrtrack.trackers.wandb.client_settings import inherited_environment
from lrtrack.trackers.wandb.writer_process import WriterProcess

#: Seconds to wait for W&B to open a run, and for any reply at one attempt.
OPEN_TIMEOUT, REPLY_TIMEOUT = 30.0, 30.0
#: Commands whose failure does not prevent the end of a run.
_OPTIONAL = ("upload", "complete")
_NOT_STORED = (
    "W&B's file storage did not accept it. Fix: allow uploads from this machine to that storage; "
    "its response is in the run's debug-internal.log under ./wandb"
)


class WandbSink:
    """Writes one run; it has a process from `open` to `close`.

    Args:
        run: the run to write.
        target: its destination, as the training process decided.
        remote_id: W&B's run id if the run was opened before.
    """

    #: The process's directory for temporary files; None: the system's.
    temporary: Path | None = None

    def __init__(self, run: Run, target: Target, remote_id: str | None) -> None:
        self._run = run
        self._target = target
        self._environment = destination.recorded_environment(target)
        self._id = remote_id or target.run_id or shared_runs.head(target) or run.id
        self._again = remote_id is not None or target.continued
        self._process: WriterProcess | None = None
        self._pending: str | None = None
        self._token = self._environment.get("WANDB_SERVICE", "") if target.joined else ""
        self._attached = service.is_running(self._token)
        # The rows of a user's offline run are in its files, and no server can be asked for them.
        self._joined_offline = target.joined and destination.mode(self._environment) == "offline"

    @property
    def durable(self) -> bool:
        """Whether accepted rows are safe.

        W&B's client accepts rows long before its server has them. So after a failure, a run that
        lrtrack opened is uploaded again from its beginning, without the rows that the server has.
        The service of a user's open run keeps accepted rows like the user's own, but the server may
        show them much later: uploading again what the server lacks would store steps twice.
        """
        return self._attached or self._joined_offline

    def open(self) -> Remote:
        """Start the process, which finds or creates the run.

        If the user's process has ended, the sink is no longer `durable`.
        """
        self._look_for_service()
        reply = self._request_open()
        if reply.get("gone"):
            self._attached = False
            if not self._joined_offline:  # rows that the service accepted may not have arrived
                self._again = True
                self.release()
                reply = self._request_open()
        self._again = True
        return Remote(reply["id"], reply["url"])

    def _request_open(self) -> dict[str, Any]:
        if self._process is None:
            self._process = self._take()
        entity, _, project = (self._target.experiment or "").rpartition("/")
        return self._request(
            "open",
            wait=OPEN_TIMEOUT + REPLY_TIMEOUT,
            id=self._id,
            entity=entity or None,
            project=project or None,
            joined=self._target.joined,
            attach=self._attached,
            offline=self._joined_offline,
            again=self._again,
            rewritten=self._id == self._run.id and not self._target.continued,
            config=self._config(),
            tags=metadata.tags(self._run),
            init=self._init_arguments(),
            settings={"program": self._run.source or "python", "host": self._run.host or None},
            timeout=OPEN_TIMEOUT,
        )

    def _look_for_service(self) -> None:
        """Check whether the user's process, whose service holds the run, still runs."""
        self._attached = self._attached and service.is_running(self._token)

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        """Log the records; the process leaves out rows that the run already has."""
        rows = [(record.step, record.time, dict(record.metrics)) for record in records]
        self._request("write", rows=rows, doubt=doubt and self.durable)

    def upload(self, history: Path) -> None:
        """Store the columnar file with the run's files."""
        if self._pending != "close":  # else it is stored already, and the run is ending
            name = f"{history_table.FOLDER}/{history_table.NAME}"
            complete = self._target.continued
            shared = self._target.joined or bool(self._target.phases)
            rows = complete or bool(self._target.phases)
            self._request(
                "upload",
                path=str(history),
                name=name,
                complete=complete,
                shared=shared,
                rows=rows,
                rewinds=rewinds_listed(self._run.rewinds),
                prefix=self._run.prefix,
            )

    def rewind(self, rewind: Rewind) -> float:
        """Let the abandoned steps be logged again, and list them in the run's config."""
        known = [r for r in self._run.rewinds if r.step == rewind.step and r.time >= rewind.time]
        if known:  # the delivery has begun again
            rewind = replace(rewind, time=known[0].time)
        reply = self._request(
            "rewind",
            step=rewind.step,
            last=rewind.last,
            time=rewind.time,
            continued=self._target.continued and not known,
        )
        rewind = Rewind(rewind.step, int(reply["last"]), float(reply["time"]))
        self._run = self._run.rewound(rewind)
        config = {metadata.CONFIG: metadata.config(self._run, self._target)}
        self._request("describe", config=config)
        return rewind.time

    def complete(self, run: Run) -> None:
        """Update the run's config, notes and diagnoses."""
        if self._pending == "close":  # they are stored already
            return
        notes = None
        own = self._run
        run = replace(run, rewinds=own.rewinds, parent=own.parent, branched_at=own.branched_at)
        if "WANDB_NOTES" not in self._environment:
            notes = metadata.notes(run, self._target)
        config = {metadata.CONFIG: metadata.config(run, self._target)}
        old, new = metadata.tags(self._run), metadata.tags(run)
        self._request(
            "complete",
            config=config,
            notes=notes,
            codes=metadata.codes(run),
            alerts=metadata.alerts(run) if run.outcome is None else {},
            name=run.name if run.name != self._run.name else None,
            tags=(old, new) if old != new else None,
        )
        self._run = replace(self._run, name=run.name, schedule=run.schedule)

    def close(self, state: State, ended: float, summary: Mapping[str, float]) -> None:
        """End the run if lrtrack opened it, and wait until W&B's server has everything.

        Raises:
            PartRefused: W&B has everything except the columnar file.
        """
        code = 0 if state is State.FINISHED else 1
        reply = self._request("close", summary=dict(summary), exit_code=code)
        if self._target.joined:
            self.release()
        else:
            process, self._process = self._process, None
            if process is not None:
                writer_process.keep(process)
        if reply.get("missing"):
            raise PartRefused(_NOT_STORED, reply["missing"])

    def release(self) -> None:
        """End the process; the next one uploads what it has not sent."""
        process, self._process, self._pending = self._process, None, None
        if process is not None:
            process.end()

    def _config(self) -> dict[str, Any]:
        """The run's config; in a run that the user opened, only the key `lrtrack`."""
        own = {metadata.CONFIG: metadata.config(self._run, self._target)}
        return own if self._target.joined else {**self._run.config, **own}

    def _init_arguments(self) -> dict[str, Any]:
        """Arguments of `wandb.init`, except those that the environment sets."""
        arguments: dict[str, Any] = {}
        if "WANDB_NOTES" not in self._environment:
            arguments["notes"] = metadata.notes(self._run, self._target)
        if "WANDB_NAME" not in self._environment:
            arguments["name"] = self._run.name
        if self._run.group is not None:
            arguments["group"] = self._run.group
        return arguments

    def _take(self) -> WriterProcess:
        inherited = inherited_environment()
        temporary = {}
        if self.temporary is not None:
            private_directory(self.temporary.parent)
            temporary["TMPDIR"] = str(private_directory(self.temporary))
        cwd = self._run.cwd if Path(self._run.cwd).is_dir() else None
        return writer_process.take(inherited | self._environment | temporary, cwd)

    def _request(self, do: str, wait: float = REPLY_TIMEOUT, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its reply.

        A command without a reply in time is not sent again: the next attempt waits for its reply.
        """
        if self._process is None and self.durable and do != "open":
            self._reopen()
        process = self._process
        if process is None:
            raise SinkLost("the process that writes to W&B is gone")
        while self._pending not in (None, do):
            self._reply(wait)
        if self._pending is None:
            try:
                process.send({"do": do, **arguments})
            except (OSError, ValueError) as error:  # broken, or closed by `release`
                self._lost(error)
            self._pending = do
        elif do == "write":  # the reply may be for other rows, so these are sent again
            self._reply(wait)
            return self._request(do, wait, **arguments)
        return self._reply(wait)

    def _reopen(self) -> None:
        self.open()
        if not self.durable:
            self._lost(None)

    def _reply(self, wait: float) -> dict[str, Any]:
        process = self._process
        if process is None:  # another thread has released it
            self._lost(None)
        try:
            line = process.replies.get(timeout=wait)
        except queue.Empty:
            raise TrackerUnavailable(f"W&B has not answered for {wait:.0f} s") from None
        if not line:
            self._lost(None)
        command, self._pending = self._pending, None
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply and command in _OPTIONAL:
            raise TrackerError(redact(reply["error"]))  # the run can still be ended
        if "error" in reply:
            self.release()
            self._look_for_service()
            text = redact(reply["error"])
            temporary = TrackerUnavailable if self.durable else SinkLost
            raise TrackerError(text, reply.get("fix", "")) if reply["final"] else temporary(text)
        return reply

    def _lost(self, error: Exception | None) -> NoReturn:
        self.release()
        self._look_for_service()
        kind = TrackerUnavailable if self.durable else SinkLost
        raise kind("the process that writes to W&B has ended") from error
