"""Decides whether this process's credentials may be used for a run, and what to do if not.

A run says which server it goes to. Credentials are meant for a server in two cases only: the
process that opened the run had the same ones, or this process's own settings name that server.
Otherwise they are never sent there: a run that was opened without credentials is delivered without
any, and any other run waits.
"""

from __future__ import annotations

import contextlib
import netrc
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from lrtrack.errors import LRTrackError
from lrtrack.journal.layout import Layout
from lrtrack.records import Run, Target
from lrtrack.shipping import temporary
from lrtrack.shipping.credentials import NETRC, absolute, accesses, hashes, netrc_of, opener
from lrtrack.shipping.cursor import Cursor
from lrtrack.trackers import registry
from lrtrack.trackers.base import Tracker, origin_of
from lrtrack.trackers.hooks import Access, RenewsTargets


class Verdict(StrEnum):
    """How this process may deliver a run to a target."""

    OWN = "with its own credentials"
    ANONYMOUS = "without any credentials"
    NOT = "not at all"


@dataclass(frozen=True)
class Difference:
    """How the credentials here differ from those with which a run was opened, by name.

    Attributes:
        missing: the run's process had them.
        changed: they have another value here.
        added: the run's process did not have them.
    """

    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    @classmethod
    def between(cls, recorded: Mapping[str, str], here: Mapping[str, str]) -> Difference:
        """Returns how `here` differs from `recorded`; both map names to hashes."""
        return cls(
            tuple(name for name in recorded if name not in here),
            tuple(name for name in recorded if here.get(name, recorded[name]) != recorded[name]),
            tuple(name for name in here if name not in recorded),
        )

    def __str__(self) -> str:
        """Returns the difference as text, empty if there is none."""
        parts = [
            (self.missing, "not here, though the training had {}"),
            (self.changed, "not what the training had"),
            (self.added, "here, though the training did not have {}"),
        ]
        texts = []
        for names, what in parts:
            if names:
                verb, pronoun = ("is", "it") if len(names) == 1 else ("are", "them")
                texts.append(f"{_listed(names)} {verb} {what.format(pronoun)}")
        return "; ".join(texts)


class Authorization:
    """Decides what this process may do with the runs of a journal directory.

    Args:
        layout: the journal directory.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._environs: dict[str, dict[str, str]] = {}
        self._hashes: dict[str, dict[str, str]] = {}
        self._defaults: dict[tuple[Path, str | None], bool] = {}

    def verdict(self, run: Run, target: Target) -> Verdict:
        """Returns how `run` may be delivered to `target` from here."""
        tracker = _tracker(target)
        for access in accesses([tracker] if tracker is not None else []):
            origin = access.origin(target)
            if origin is None or access.home(self._environ(target)) == origin:
                return Verdict.OWN
            recorded, own = self._sent(run, target, access)
            if recorded != own:
                return Verdict.NOT if recorded else Verdict.ANONYMOUS
        return Verdict.OWN

    def admit(self, run: Run, target: Target, tracker: Tracker) -> Target | None:
        """Returns the target with this process's own settings, or None if it may not deliver
        there.
        """
        if self.verdict(run, target) is not Verdict.OWN:
            return None
        return tracker.renew_target(target) if isinstance(tracker, RenewsTargets) else target

    def trouble(self, run: Run, target: Target, state: Cursor, tried: bool = False) -> str | None:
        """Returns why the delivery is stuck, with the fix; None if nothing is known.

        Args:
            run: the run.
            target: where it goes.
            state: how far it is delivered there.
            tried: this process has just tried, so that its own credentials were refused.
        """
        tracker = _tracker(target)
        for access in accesses([tracker] if tracker is not None else []):
            verdict = self.verdict(run, target)
            difference = Difference.between(*self._sent(run, target, access))
            command = f"`{_quoted(access.ask_for(target))} lrtrack sync`"
            if verdict is Verdict.NOT:
                return (
                    f"the credentials here may not be meant for {access.origin(target)}: "
                    f"{difference}. Fix: restore what the training had, or, if these are for that "
                    f"server, run {command}"
                )
            if state.refused and verdict is Verdict.ANONYMOUS:
                return (
                    f"{state.error}: {difference}. Fix: if that is for this server, run {command}"
                )
            if state.refused and (difference.missing or (str(difference) and not tried)):
                fix = "set what is missing, then run" if difference.missing else "run"
                return f"{state.error}: {difference}. Fix: {fix} `lrtrack sync`"
        return state.trouble

    def _environ(self, target: Target) -> dict[str, str]:
        """Returns this process's variables as deliveries to the target's tracker see them."""
        if target.tracker not in self._environs:
            tracker = _tracker(target)
            self._environs[target.tracker] = absolute(os.environ, [tracker] if tracker else [])
        return self._environs[target.tracker]

    def _here(self, target: Target) -> dict[str, str]:
        """Returns names and hashes of this process's credentials for the target's tracker."""
        if target.tracker not in self._hashes:
            tracker = _tracker(target)
            kept = [tracker] if tracker else []
            self._hashes[target.tracker] = hashes(kept, self._environ(target))
        return self._hashes[target.tracker]

    def _sent(
        self, run: Run, target: Target, access: Access
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Returns names and hashes of what is sent to the target's server: the run's, and this
        process's.

        A login for the server's own name is meant for it, so only a default login of `~/.netrc`
        counts.
        """
        environ, here = self._environ(target), self._here(target)
        there = opener(self._layout, run).credentials
        origin = access.origin(target) or ""
        own = {name: text for name, text in here.items() if access.sends(name, target)}
        recorded = {name: text for name, text in there.items() if access.sends(name, target)}
        for name in list(own):  # the login in a URL is sent to that URL's server only
            if origin_of(environ.get(name, "")) not in (None, origin):
                del own[name]
        if self._has_default(netrc_of(environ), urlsplit(origin).hostname):
            own |= {name: text for name, text in here.items() if name == NETRC}
            recorded |= {name: text for name, text in there.items() if name == NETRC}
        return recorded, own

    def _has_default(self, path: Path, host: str | None) -> bool:
        """Returns whether the login file has a default login, and none for `host`."""
        if (path, host) not in self._defaults:
            hosts: Mapping[str, object] = {}
            with contextlib.suppress(OSError, netrc.NetrcParseError):
                hosts = netrc.netrc(path).hosts
            self._defaults[path, host] = "default" in hosts and host not in hosts
        return self._defaults[path, host]


@contextmanager
def without_credentials(layout: Layout, targets: Iterable[Target]) -> Iterator[dict[str, str]]:
    """Makes variables for a process that sends nothing to the servers of `targets` but their own
    logins.

    Yields:
        This process's variables without credentials, and with a home directory that lacks those
        files; of `~/.netrc`, only the logins for these servers remain.
    """
    environ = dict(os.environ)
    home, hidden, servers = Path(environ.get("HOME") or "/nonexistent"), {".netrc"}, set()
    for target in targets:
        tracker = _tracker(target)
        for access in accesses([tracker] if tracker is not None else []):
            servers.add(urlsplit(access.origin(target) or "").hostname or "")
            hidden |= {
                path.relative_to(home).parts[0]
                for name, path in access.files(environ).items()
                if access.sends(name, target) and path.is_relative_to(home)
            }
            environ = {n: text for n, text in environ.items() if not access.sends(n, target)}
    with temporary.folder(layout) as folder:
        _mirror(home, folder, hidden)
        (folder / ".netrc").touch(mode=0o600)
        (folder / ".netrc").write_text(_logins(netrc_of(os.environ), servers))
        yield environ | {"HOME": str(folder), "NETRC": str(folder / ".netrc")}


def _mirror(home: Path, folder: Path, hidden: set[str]) -> None:
    with contextlib.suppress(OSError):
        for path in home.iterdir():
            if path.name not in hidden:
                (folder / path.name).symlink_to(path)


def _logins(path: Path, servers: set[str]) -> str:
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        logins = netrc.netrc(path)
        logins.hosts = {name: login for name, login in logins.hosts.items() if name in servers}
        logins.macros = {}
        return repr(logins)
    return ""


def _tracker(target: Target) -> Tracker | None:
    try:
        return registry.get(target.tracker)
    except LRTrackError:
        return None


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _quoted(assignment: str) -> str:
    name, _, value = assignment.partition("=")
    return f"{name}={shlex.quote(value)}"
