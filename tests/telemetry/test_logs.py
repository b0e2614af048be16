"""One line an event, whatever is in it; ids on it, secrets not."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.telemetry.logs import JsonLines, TerminalLines, setup_logging

IDS = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7"}


def record(message: str = "done", *args: object, **fields: Any) -> logging.LogRecord:
    given = {"name": "shop", "levelname": "INFO", "msg": message, "args": args, "created": 1_700_000_000.5}
    return logging.makeLogRecord(given | fields)


def told(made: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(JsonLines(lambda: IDS).format(made))
    return found


def test_a_record_is_a_json_line() -> None:
    assert told(record("sold %d", 3, item="chair", price=2.5)) == {
        "time": "2023-11-14T22:13:20.500Z",
        "level": "INFO",
        "logger": "shop",
        "message": "sold 3",
        **IDS,
        "item": "chair",
        "price": 2.5,
    }


def test_secrets_are_hidden_wherever_they_are() -> None:
    made = record("GET /?token=hunter2", password="hunter2", url="redis://:hunter2@cache/0", authorization="hunter2")
    try:
        raise ValueError("postgresql://me:hunter2@db")
    except ValueError:
        made.exc_info = sys.exc_info()

    assert "hunter2" not in JsonLines().format(made)
    assert "hunter2" not in TerminalLines().format(made)
    assert "ValueError" in told(made)["exception"]


def test_fields_do_not_replace_what_the_line_says_itself() -> None:
    assert told(record(level="none", trace_id="mine"))["trace_id"] == IDS["trace_id"]
    assert told(record(level="none"))["level"] == "INFO"


def test_a_terminal_says_an_event_once() -> None:
    made = record("circuit pay is open", event="circuit_opened", item="chair", **{"breaker.name": "pay"})

    assert TerminalLines().format(made).endswith("shop: circuit pay is open item=chair")
    assert told(made)["breaker.name"] == "pay"


def test_arguments_that_do_not_fit_are_written_all_the_same() -> None:
    assert told(record("%d rows", "many"))["message"] == "%d rows (arguments do not fit: ('many',))"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {"a": 1}, None, True])
def test_any_field_is_json(value: object) -> None:
    line = JsonLines().format(record(field=value))

    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@given(st.text(), st.text())
def test_nothing_breaks_a_line(message: str, field: str) -> None:
    made = record("%s", message, field=field)

    assert len(JsonLines().format(made).splitlines()) == 1
    assert len(TerminalLines().format(made).splitlines()) == 1


def test_a_terminal_line_is_coloured_and_short() -> None:
    line = TerminalLines(lambda: IDS).format(record("sold", item="chair"))

    assert line == "22:13:20.500 \x1b[32mINFO    \x1b[0m shop: sold item=chair [4bf92f35]"


def test_a_terminal_is_not_commanded() -> None:
    assert "\x1b[2J" not in TerminalLines().format(record("\x1b[2J"))


@pytest.fixture
def restored() -> Iterator[None]:
    root, server = logging.getLogger(), logging.getLogger("werkzeug")
    before = list(root.handlers), root.level, list(server.handlers), server.level
    yield
    root.handlers[:], server.handlers[:] = before[0], before[2]
    root.setLevel(before[1])
    server.setLevel(before[3])


@pytest.mark.usefixtures("restored")
def test_servers_write_once_and_in_the_same_form() -> None:
    stream = io.StringIO()
    server = logging.getLogger("werkzeug")
    server.addHandler(logging.StreamHandler(stream))
    server.setLevel(logging.ERROR)

    setup_logging(stream)
    server.warning("GET /")

    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["logger"] == "werkzeug"
