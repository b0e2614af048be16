"""The certificate of the service that an authority issues: what the settings make of it, and who renews it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.events import Hook, ignore
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql import Database

if TYPE_CHECKING:
    from quadra_matrix.store.certificates import CertificateStore
    from quadra_matrix.tls.renewer import Renewer

AFTER_START = 10.0
"""Seconds until the first look: the authority asks the HTTP workers, and they have to be there."""


def shared_entries(settings: Settings, database: Database, clock: Clock = SYSTEM_CLOCK) -> CertificateStore:
    """Return what the hosts of the service share about its certificate; the database holds it sealed."""
    from quadra_matrix.storage.sql.certificates import SqlCertificates
    from quadra_matrix.tls.sealed import Sealed

    assert settings.secret_key is not None  # the settings ask for it
    return Sealed(SqlCertificates(database, clock), settings.secret_key.get_secret_value().encode())


def renewer_of(
    settings: Settings, entries: CertificateStore, *, clock: Clock = SYSTEM_CLOCK, hook: Hook | None = None
) -> Renewer:
    """Return the renewer of the service's certificate."""
    from quadra_matrix.tls.renewer import Renewer

    return Renewer(settings.acme_order(), settings.acme_dir, entries, clock=clock, hook=hook)


@contextlib.contextmanager
def renewing(
    settings: Settings, database: Database, clock: Clock = SYSTEM_CLOCK, *, hook: Hook = ignore
) -> Iterator[None]:
    """Keep the certificate good until the block ends, if an authority issues it."""
    if not settings.acme_names:
        yield
        return
    from quadra_matrix.tls.renewer import keep_good

    stop = threading.Event()
    renewer = renewer_of(settings, shared_entries(settings, database, clock), clock=clock, hook=hook)
    thread = threading.Thread(target=keep_good, args=(renewer, stop, AFTER_START), name="certificate", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(1.0)  # an order may take minutes, and is safe to leave: it counts as failed
