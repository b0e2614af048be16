"""A reader of the feed sees every event once, wherever it starts and however slowly it reads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quadra_matrix.service import feed as feeds
from quadra_matrix.service.feed import Feed
from quadra_matrix.service.messages import WebSocketMessage
from quadra_matrix.store import JobEvent

JOBS = ("a" * 32, "b" * 32)


def event(sequence: int, job: str) -> JobEvent:
    told = {"job": job, "kind": "train", "state": "running", "phase": "fit", "fraction": 0.5, "metrics": {}}
    return JobEvent(sequence, 1_700_000_000.25, "job.progress", job, told)


class MemoryLog:
    """A ``JobLog`` that can be told to fail."""

    def __init__(self) -> None:
        self.events: list[JobEvent] = []
        self.failures = 0

    def read(self, after: int, *, job: str | None = None, limit: int = 500) -> Sequence[JobEvent]:
        if self.failures:
            self.failures -= 1
            raise OSError("the database restarts")
        return [one for one in self.events if one.sequence > after and job in {None, one.job}][:limit]

    def latest(self) -> int:
        return self.events[-1].sequence if self.events else 0


async def heard(feed: Feed, after: int, job: str | None, until: int) -> list[int]:
    """Read until everything up to ``until`` was seen; return the sequences that came."""
    found: list[int] = []
    while after < until:
        page = await asyncio.wait_for(feed.after(after, job), 20)
        found += [told.sequence for told in page.events]
        after = page.seen
    return found


GROWTH = st.lists(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from(JOBS)), min_size=1, max_size=30), min_size=1, max_size=5
)


@settings(max_examples=40, deadline=None)
@given(before=GROWTH, later=GROWTH, start=st.integers(0, 60), job=st.sampled_from([None, *JOBS]))
def test_nothing_is_missed_and_nothing_comes_twice(
    before: list[list[tuple[int, str]]], later: list[list[tuple[int, str]]], start: int, job: str | None
) -> None:
    async def run() -> tuple[list[int], MemoryLog]:
        log = MemoryLog()
        grow(log, [step for part in before for step in part])
        feed = Feed(log)
        await feed.start()
        following = asyncio.create_task(feed.follow())
        last = log.latest() + sum(gap for part in later for gap, _ in part)
        reading = asyncio.create_task(heard(feed, min(start, log.latest()), job, last))
        for part in later:
            await asyncio.sleep(0)
            grow(log, part)
        found = await reading
        following.cancel()
        return found, log

    with pytest.MonkeyPatch.context() as small:
        small.setattr(feeds, "KEPT", 10)
        small.setattr(feeds, "PAGE", 7)
        small.setattr(feeds, "BETWEEN_LOOKS", 0.001)
        found, log = asyncio.run(run())

    first = min(start, sum(gap for part in before for gap, _ in part))
    assert found == [one.sequence for one in log.events if one.sequence > first and job in {None, one.job}]


def grow(log: MemoryLog, steps: list[tuple[int, str]]) -> None:
    for gap, job in steps:
        log.events.append(event(log.latest() + gap, job))


def test_a_log_that_fails_is_read_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(feeds, "AFTER_A_FAILURE", 0.001)

    async def run() -> list[int]:
        log = MemoryLog()
        feed = Feed(log)
        await feed.start()
        log.failures = 2
        following = asyncio.create_task(feed.follow())
        grow(log, [(1, JOBS[0])])
        found = await heard(feed, 0, None, 1)
        following.cancel()
        return found

    assert asyncio.run(run()) == [1]
    assert "trying again" in caplog.text


def test_a_message_says_when_in_rfc_3339() -> None:
    text = feeds.message(event(7, JOBS[0])).text()

    assert '"time":"2023-11-14T22:13:20.250000Z"' in text
    assert "result" not in text
    assert WebSocketMessage.model_validate_json(text).sequence == 7
