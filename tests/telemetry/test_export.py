"""Whatever the receiver does, putting never waits, memory is bounded and every loss is counted."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from quadra_matrix.telemetry.export import Exported, ExportQueue, NotDelivered
from quadra_matrix.telemetry.http import Post
from tests.telemetry.receivers import http_receiver, silent_receiver

SOON = 10.0
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


class Receiver:
    """Takes batches; refuses as often as it is told, and can be held."""

    def __init__(self, refusals: int = 0, *, may_retry: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.refusals, self.may_retry = refusals, may_retry
        self.free = threading.Event()
        self.free.set()

    def __call__(self, batch: Sequence[int]) -> None:
        self.free.wait(SOON)
        if self.refusals:
            self.refusals -= 1
            raise NotDelivered("it is away", may_retry=self.may_retry)
        self.batches.append(list(batch))


@pytest.fixture
def opened() -> Iterator[Callable[..., ExportQueue[int]]]:
    queues: list[ExportQueue[int]] = []

    def make(receiver: Callable[[Sequence[int]], None], **options: object) -> ExportQueue[int]:
        queues.append(ExportQueue(receiver, **options))  # type: ignore[arg-type]
        return queues[-1]

    yield make
    for queue in queues:
        queue.close()


Opened = Callable[..., ExportQueue[int]]


def test_items_arrive_in_order_and_in_batches(opened: Opened) -> None:
    receiver = Receiver()
    queue = opened(receiver, batch=4, delay=60)

    for number in range(10):
        queue.put(number)

    assert queue.flush(SOON)
    assert [item for batch in receiver.batches for item in batch] == list(range(10))
    assert max(map(len, receiver.batches)) <= 4
    assert queue.exported == Exported(sent=10)


def test_a_full_batch_goes_without_a_flush(opened: Opened) -> None:
    arrived = threading.Event()
    queue = opened(lambda batch: arrived.set(), batch=3, delay=60)

    for number in range(3):
        queue.put(number)

    assert arrived.wait(SOON)


def test_a_full_queue_drops_and_counts(opened: Opened) -> None:
    receiver, told = Receiver(), list[tuple[str, int]]()
    receiver.free.clear()
    queue = opened(
        receiver, limit=5, batch=1, delay=0.01, report=lambda outcome, number: told.append((outcome, number))
    )

    for number in range(100):
        queue.put(number)
    receiver.free.set()

    assert queue.flush(SOON)
    counts = queue.exported
    assert counts.sent + counts.dropped == 100
    assert 94 <= counts.dropped <= 95  # five in the queue, perhaps one in hand
    queue.close()
    assert sum(number for outcome, number in told if outcome == "dropped") == counts.dropped
    assert sum(number for outcome, number in told if outcome == "sent") == counts.sent


def test_a_receiver_that_comes_back_gets_the_batch(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    receiver = Receiver(refusals=2)
    queue = opened(receiver, delay=60)

    queue.put(1)
    assert not queue.flush(0.05)
    while not queue.flush(0.05):
        pass

    assert receiver.batches == [[1]]
    messages = [record.getMessage() for record in caplog.records]
    assert [message.partition(":")[0] for message in messages] == [
        "telemetry is not delivered",
        "telemetry is delivered again; 0 were dropped",
    ]


def test_a_refusal_for_good_is_counted_and_the_rest_goes_on(opened: Opened) -> None:
    receiver = Receiver(refusals=1, may_retry=False)
    queue = opened(receiver, delay=60)

    queue.put(1)
    assert not queue.flush(SOON)
    queue.put(2)
    assert queue.flush(SOON)

    assert queue.exported == Exported(sent=1, dropped=1)
    assert receiver.batches == [[2]]


def test_a_receiver_that_raises_anything_does_not_end_the_export(opened: Opened) -> None:
    seen: list[int] = []

    def broken(batch: Sequence[int]) -> None:
        seen.append(len(seen))
        if len(seen) == 1:
            raise RuntimeError("a bug")

    queue = opened(broken, delay=60)
    queue.put(1)
    assert not queue.flush(SOON)
    queue.put(2)

    assert queue.flush(SOON)


def test_flush_and_close_keep_their_deadline(opened: Opened) -> None:
    receiver = Receiver()
    receiver.free.clear()
    queue = opened(receiver, delay=60)
    queue.put(1)

    began = time.monotonic()
    results = queue.flush(0.1), queue.close(0.1)

    assert results == (False, False)
    assert time.monotonic() - began < 1
    receiver.free.set()


def test_close_sends_what_waits_and_takes_no_more(opened: Opened) -> None:
    receiver = Receiver()
    queue = opened(receiver, delay=60)
    queue.put(1)

    assert queue.close(SOON)
    queue.put(2)

    assert receiver.batches == [[1]]
    assert queue.exported == Exported(sent=1, dropped=1)
    assert queue.close(SOON)


def test_threads_lose_nothing(opened: Opened) -> None:
    receiver = Receiver()
    queue = opened(receiver, limit=100_000, batch=64, delay=0.01)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [queue.put(1) for _ in range(500)], range(8)))

    assert queue.flush(SOON)
    assert sum(map(len, receiver.batches)) == 4000


def test_a_report_that_raises_does_not_end_the_export(opened: Opened) -> None:
    def broken(outcome: str, number: int) -> None:
        raise RuntimeError("a bug")

    receiver = Receiver()
    queue = opened(receiver, report=broken, delay=60)
    for number in range(2):
        queue.put(number)
        assert queue.flush(SOON)

    assert queue.exported.sent == 2


@FORKS
def test_a_forked_child_sends_its_own_and_only_its_own(opened: Opened) -> None:
    ours, theirs = multiprocessing.Pipe()
    queue = opened(lambda batch: theirs.send(list(batch)), delay=60)
    queue.put(1)

    def child() -> None:
        queue.put(2)
        queue.close(SOON)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(SOON)
    first = ours.recv()
    assert queue.flush(SOON)

    assert (first, ours.recv(), ours.poll()) == ([2], [1], False)


def test_a_post_carries_body_and_headers() -> None:
    with http_receiver(is_otlp=False) as (url, received):
        Post(f"{url}/in?a=1", content_type="application/json", headers={"api-key": "k"}, timeout=SOON)(b"[]")

    assert received.bodies == [b"[]"]
    assert received.headers[0]["content-type"] == "application/json"
    assert received.headers[0]["api-key"] == "k"


@pytest.mark.parametrize(("status", "may_retry"), [(503, True), (429, True), (400, False), (302, False)])
def test_an_answer_says_whether_to_try_again(status: int, may_retry: bool) -> None:
    with http_receiver(status, is_otlp=False) as (url, _), pytest.raises(NotDelivered, match=str(status)) as refused:
        Post(url, content_type="application/json", headers={}, timeout=SOON)(b"[]")

    assert refused.value.may_retry is may_retry


def test_a_refused_connection_is_not_delivered() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nothing else can take the port
        port = closed.getsockname()[1]
        with pytest.raises(NotDelivered, match="does not answer") as refused:
            Post(f"http://127.0.0.1:{port}", content_type="application/json", headers={}, timeout=SOON)(b"[]")

    assert refused.value.may_retry


def test_a_receiver_that_never_answers_is_left_in_time() -> None:
    began = time.monotonic()

    with silent_receiver() as url, pytest.raises(NotDelivered):
        Post(url, content_type="application/json", headers={}, timeout=0.2)(b"[]")

    assert time.monotonic() - began < 2


def test_a_receiver_that_trickles_is_left_in_time() -> None:
    """Each byte starts a socket's own timeout again; the exchange ends all the same."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def trickle() -> None:
            connection, _ = listening.accept()
            with connection:
                while not stop.wait(0.02):
                    try:
                        connection.sendall(b"a")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        began = time.monotonic()
        with pytest.raises(NotDelivered):
            Post(f"http://127.0.0.1:{listening.getsockname()[1]}", content_type="text/plain", headers={}, timeout=0.3)(
                b"[]"
            )
        took = time.monotonic() - began
        stop.set()
        thread.join(SOON)

    assert took < 2
