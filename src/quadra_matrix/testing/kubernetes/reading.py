"""Lists and watches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from quadra_matrix.testing.kubernetes.cluster import Cluster
from quadra_matrix.testing.kubernetes.objects import Json
from quadra_matrix.testing.kubernetes.problems import Refused, bad_request
from quadra_matrix.testing.kubernetes.requests import Request, Target
from quadra_matrix.testing.kubernetes.selectors import Choice, by_fields, by_labels
from quadra_matrix.testing.kubernetes.storage import Change

LOOK = 0.05
"""Seconds between two looks of a watch at a cluster in which only time passes."""

Encoder = Callable[[Json], Json]
"""Makes of an object what a client asked to get in its place."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Answers questions about many objects."""

    cluster: Cluster

    def items(self, request: Request, target: Target) -> Sequence[Json]:
        """Return the objects that a request chooses."""
        chosen = _choice(request, target)
        return [thing for thing in self.cluster.storage.list(target.kind, target.namespace) if chosen(thing)]

    def list(self, request: Request, target: Target) -> Json:
        """Return a list with the version from which a watch goes on. Pages are as long as the client asks."""
        items = list(self.items(request, target))
        limit, start = int(request.query.get("limit") or 0), _start(request.query.get("continue"))
        metadata: Json = {"resourceVersion": str(self.cluster.storage.revision)}
        if limit and start + limit < len(items):
            metadata |= {"continue": f"after-{start + limit}", "remainingItemCount": len(items) - start - limit}
            items = items[start : start + limit]
        else:
            items = items[start:]
        return {
            "kind": f"{target.kind.name}List",
            "apiVersion": target.kind.api_version,
            "metadata": metadata,
            "items": items,
        }

    def watch(self, request: Request, target: Target, over: Callable[[], bool], encoder: Encoder) -> Iterator[bytes]:
        """Yield what happens to the chosen objects as lines of JSON, until the time asked for or ``over``.

        Raises a 410 at once for a version that is too old; one that gets too old meanwhile ends in an ERROR event.
        """
        chosen, cluster = _choice(request, target), self.cluster
        given = request.query.get("resourceVersion", "")
        with cluster.lock:
            first = [] if given not in {"", "0"} else self.items(request, target)
            seen = cluster.storage.revision if given in {"", "0"} else _number(given)
            cluster.storage.since(seen)
            ends = cluster.elapsed() + float(request.query.get("timeoutSeconds") or "inf")
        return self._events(target, chosen, first, seen, ends, over, encoder)

    def _events(
        self,
        target: Target,
        chosen: Choice,
        first: Sequence[Json],
        seen: int,
        ends: float,
        over: Callable[[], bool],
        encoder: Encoder,
    ) -> Iterator[bytes]:
        cluster = self.cluster
        for thing in first:
            yield _line("ADDED", encoder(thing))
        while not over():
            with cluster.lock:
                cluster.catch_up()
                try:
                    news = cluster.storage.since(seen)
                except Refused as expired:
                    yield _line("ERROR", expired.status())
                    return
                if not news and cluster.elapsed() >= ends:
                    return
                if not news:
                    cluster.changed.wait(LOOK)
            for change in news:
                seen = change.revision
                event = _event(change, target, chosen)
                if event is not None:
                    yield _line(event, encoder(change.after))


def _event(change: Change, target: Target, chosen: Choice) -> str | None:
    """Return what a change is to a watcher: an object may enter and leave what it chose."""
    if change.key.kind is not target.kind or target.namespace not in {"", change.key.namespace}:
        return None
    now = change.type != "DELETED" and chosen(change.after)
    before = change.before is not None and chosen(change.before)
    if now:
        return "MODIFIED" if before else "ADDED"
    return "DELETED" if before else None


def _choice(request: Request, target: Target) -> Choice:
    """Return the choice that the selectors of a request make together."""
    labels = by_labels(request.query.get("labelSelector", ""))
    fields = by_fields(request.query.get("fieldSelector", ""), target.kind.fields)
    return lambda thing: _named(thing, target) and labels(thing) and fields(thing)


def _named(thing: object, target: Target) -> bool:
    return not target.name or (isinstance(thing, dict) and thing["metadata"]["name"] == target.name)


def _start(token: str | None) -> int:
    """Return where the next page starts."""
    if not token:
        return 0
    if not token.startswith("after-"):
        raise bad_request("continue key is not valid")
    return int(token.removeprefix("after-"))


def _number(given: str) -> int:
    if not given.isdecimal():
        raise bad_request(f"invalid resource version: {given!r}")
    return int(given)


def _line(type_: str, thing: Json) -> bytes:
    return json.dumps({"type": type_, "object": thing}).encode() + b"\n"
