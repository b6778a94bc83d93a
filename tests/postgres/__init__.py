"""A real PostgreSQL of the tests' own, which asks for a password.

As `tests/wandb_loopback`, `tests/conftest.py` loads it by its path; then every test can write
`from postgres import running`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

#: With signs that have to be quoted in a URI.
SECRET = "hunter2@%/:"


class Cluster:
    """A PostgreSQL of the tests' own, on a loopback port, with the database `mlflow`."""

    def __init__(self, programs: Path, folder: Path, user: dict[str, Any]) -> None:
        self._programs, self._folder, self._user = programs, folder, user
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = self.uri_with(SECRET)

    def uri_with(self, password: str) -> str:
        """The store's URI for somebody who gives this password."""
        return f"postgresql+psycopg2://mlflow:{quote(password, safe='')}@{self.place}"

    @property
    def place(self) -> str:
        """Where the database is."""
        return f"127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        """Make the files; every connection needs the password."""
        secret = self._folder / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o644)
        command = [str(self._programs / "initdb"), "-D", str(self._folder / "data"), "--no-sync"]
        command += ["-U", "mlflow", "--auth=scram-sha-256", f"--pwfile={secret}"]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._user)
        secret.unlink()

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        command += ["-p", str(self.port), "-h", "127.0.0.1", "-k", str(self._folder), "-F"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, **self._user)
        ready = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + 300
        while subprocess.run(ready, check=False).returncode != 0:
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once, whoever is connected."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(300)
            self._process = None


class Missing(Exception):
    """There is no PostgreSQL here, or nobody to run it as."""


@contextmanager
def running() -> Iterator[Cluster]:
    """A running cluster, gone at the end; raises `Missing` where there can be none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    which = shutil.which("initdb")
    if not found and which is None:
        raise Missing("PostgreSQL is not installed")
    programs = found[-1].parent if found else Path(str(which)).parent
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # which PostgreSQL refuses to run as
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            raise Missing("PostgreSQL does not run as root, and has no account") from None
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    folder = Path(tempfile.mkdtemp(prefix="lrtrack-postgres-"))
    if user:
        os.chown(folder, user["user"], user["group"])
    made = Cluster(programs, folder, user)
    try:
        made.create()
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)
