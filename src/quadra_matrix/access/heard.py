"""What happens where nobody listens: each event is a line in the log."""

from __future__ import annotations

import logging

from quadra_matrix.events import Event

log = logging.getLogger("quadra_matrix.access")


def log_event(event: Event) -> None:
    """Log an event: the hook of an application that gives no other one."""
    log.info("%s", event)
