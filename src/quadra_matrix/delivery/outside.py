"""Smoke tests, hooks and notifications: what a rollout asks of the world over HTTP and by commands."""

from __future__ import annotations

import json
import logging
import queue
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from quadra_matrix.client import request
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.delivery.model import Rollout
from quadra_matrix.delivery.plan import Check, StepHook
from quadra_matrix.errors import CheckFailed, HookFailed, ServiceError, ServiceUnreachable
from quadra_matrix.events import Event

log = logging.getLogger(__name__)

NOTIFY_WITHIN = 5.0
"""Seconds one notification may take."""

Answer = Callable[[Check, str, str], tuple[int, bytes]]
"""Sends a check to an address; returns status and body. Raises ``CheckFailed`` with the name that it is given."""


class World:
    """The real ``Outside``."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK, answer: Answer | None = None) -> None:
        """``answer`` sends a check to an address that no URL names."""
        self._clock, self._answer = clock, answer or _answer

    def check(self, checks: Sequence[Check], addresses: Sequence[str]) -> None:
        """Send every check to every address."""
        if not addresses:
            raise CheckFailed("smoke tests", "there is no instance to send them to")
        for address in addresses:
            for one in checks:
                self._check(one, address)

    def run(self, hooks: Sequence[StepHook], rollout: Rollout) -> None:
        """Run hooks in order. Each gets the rollout, so one that ran before a crash can tell that it runs again."""
        for hook in hooks:
            document = summary(rollout)
            if hook.url is not None:
                _post(hook.url, document, hook.timeout)
            else:
                _execute(hook, document)

    def _check(self, check: Check, address: str) -> None:
        """Send one check. Raises ``CheckFailed``."""
        name, began = f"{check.method} {address}{check.path}", self._clock.monotonic()
        status, text = self._answer(check, address, name)
        took = self._clock.monotonic() - began
        if status != check.status:
            raise CheckFailed(name, f"answered {status} instead of {check.status}")
        if took > check.within:
            raise CheckFailed(name, f"took {took:.2f} s; {check.within:g} s are allowed")
        for path, wanted in check.fields.items():
            found = field_of(text, path)
            if found != wanted:
                raise CheckFailed(name, f"{path} is {found!r} instead of {wanted!r}")


def _answer(check: Check, address: str, name: str) -> tuple[int, bytes]:
    """Return status and body of what a check is answered, whatever the status."""
    body = None if check.body is None else check.body.encode()
    headers = {} if body is None else {"Content-Type": "application/json"}
    asked = urllib.request.Request(address + check.path, body, headers, method=check.method)  # noqa: S310  loopback
    try:
        with urllib.request.urlopen(asked, timeout=check.within) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()
    except OSError as failed:
        raise CheckFailed(name, f"no answer in {check.within:g} s: {failed}") from failed


def field_of(text: bytes, path: str) -> object:
    """Return the value at a dotted path of a JSON document; None where there is none."""
    try:
        found: object = json.loads(text)
    except ValueError:
        return None
    for part in path.split("."):
        if isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        elif isinstance(found, Mapping):
            found = found.get(part)
        else:
            return None
    return found


def summary(rollout: Rollout) -> dict[str, Any]:
    """Return what hooks and listeners are told about a rollout."""
    at = rollout.progress
    return {
        "rollout": rollout.name,
        "kind": rollout.kind,
        "stable": at.stable,
        "candidate": at.candidate,
        "phase": at.phase,
        "step": at.step,
        "share": rollout.plan.steps[at.step].share,
        "finding": at.verdict.finding,
        "because": at.because,
    }


def _post(url: str, document: Mapping[str, Any], timeout: float) -> None:
    """Send a document. Raises ``HookFailed``."""
    try:
        request(url, method="POST", body=dict(document), timeout=timeout)
    except (ServiceError, ServiceUnreachable) as failed:
        raise HookFailed(url, str(failed)) from failed
    except ValueError:  # an answer that is no JSON is an answer
        log.debug("%s did not answer with JSON", url)


def _execute(hook: StepHook, document: Mapping[str, Any]) -> None:
    """Run a command. Raises ``HookFailed`` with the end of its output."""
    name = " ".join(hook.command)
    # env(1) adds one variable to our environment without this module reading it.
    words = ["/usr/bin/env", f"QUADRA_ROLLOUT={json.dumps(document)}", *hook.command]
    try:
        ended = subprocess.run(words, capture_output=True, timeout=hook.timeout, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
    except subprocess.TimeoutExpired as late:
        raise HookFailed(name, f"did not end in {hook.timeout:g} s") from late
    if ended.returncode:
        said = (ended.stderr or ended.stdout)[-200:].decode(errors="replace").strip()
        raise HookFailed(name, f"ended with {ended.returncode}: {said}")


class Webhooks:
    """A hook that posts every event to some addresses, in order, on a thread of its own; failures are logged."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = tuple(urls)
        self._waiting: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._post_all, name="quadra-webhooks", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Take an event and return at once."""
        self._waiting.put(event)

    def close(self, within: float = NOTIFY_WITHIN) -> None:
        """Send what is waiting, for ``within`` seconds at most."""
        self._waiting.put(None)
        self._thread.join(within)

    def _post_all(self) -> None:
        while (event := self._waiting.get()) is not None:
            document = {"event": type(event).__name__, **asdict(event)}
            for url in self._urls:
                try:
                    _post(url, document, NOTIFY_WITHIN)
                except HookFailed as failed:
                    log.warning("a notification was lost: %s", failed)
