"""The checks of the ready service's parts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from quadra_matrix.clock import Clock
from quadra_matrix.errors import UnknownModel
from quadra_matrix.service.health import OK, Check, Finding, State
from quadra_matrix.store.backups import BackupRecord

if TYPE_CHECKING:
    from quadra_matrix.tls.renewer import Status

SILENCE = 30.0
"""Seconds without a sign of life after which the job runner counts as dead; it gives one every second or so."""


def answers(ping: Callable[[], None]) -> Check:
    """Return the check that passes when ``ping`` raises nothing."""

    def check() -> Finding:
        ping()
        return OK

    return check


def goes_on(stopping: Path) -> Check:
    """Return the check that waits once the file says that the service stops."""
    return lambda: Finding(State.WAITING, "the service stops") if stopping.exists() else OK


def warm(load: Callable[[], object]) -> Check:
    """Return the check that loads the default model, which costs nothing once it is in memory.

    A model that nobody has trained yet is no reason to send requests elsewhere: no other worker has it either.
    """

    def check() -> Finding:
        try:
            load()
        except UnknownModel as none:
            return Finding(State.OK, f"there is no {none.asked} yet")
        return OK

    return check


def beats(last: Callable[[], float], clock: Clock) -> Check:
    """Return the check that the job runner lives; ``last`` returns when it last said so, 0 for never."""

    def check() -> Finding:
        silent = clock.now() - last()
        return OK if silent < SILENCE else Finding(State.FAILED, "the job runner gives no sign of life")

    return check


def backed_up(last_made: Callable[[], BackupRecord | None], *, every_hours: float, clock: Clock) -> Check:
    """Return the check that the newest backup is as young as the schedule wants, with room for one that fails."""

    def check() -> Finding:
        newest = last_made()
        if newest is None:
            return Finding(State.WAITING, "no backup was made yet")
        hours = (clock.now() - newest.started) / 3600
        return OK if hours <= 2 * every_hours else Finding(State.FAILED, f"the newest backup is {hours:.1f} hours old")

    return check


def renewed(status: Callable[[], Status]) -> Check:
    """Return the check that the certificate is renewed in time; a failed attempt shows in the last third of its life.

    Until the first one is issued nothing is wrong, unless the order failed.
    """

    def check() -> Finding:
        found = status()
        if found.standing == "good":
            return OK
        if found.standing == "missing":
            failed = found.attempts.failures > 0
            return Finding(State.FAILED if failed else State.WAITING, f"no certificate for {found.domain} yet")
        day = dt.datetime.fromtimestamp(found.expires or 0.0, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
        verb = "expired on" if found.standing == "expired" else "was not renewed and expires on"
        return Finding(State.FAILED, f"the certificate for {found.domain} {verb} {day}")

    return check
