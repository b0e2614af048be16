"""The certificates of a folder that come from a certificate authority: one order a domain, one account for all."""

from __future__ import annotations

from pathlib import Path

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.events import Hook
from quadra_matrix.store.certificates import CertificateStore
from quadra_matrix.tls.files import PUBLIC, private_folder, write_whole
from quadra_matrix.tls.ordering import OrderOptions, from_json, to_json
from quadra_matrix.tls.renewer import Renewer
from quadra_matrix.tls.shelf import Shelf

ORDER = "order.json"
"""Holds, beside a pair, the options of its order: ``quadra certs renew`` reads them."""


def shelf_in(cert_dir: Path, clock: Clock = SYSTEM_CLOCK) -> Shelf:
    """Return what the processes that use ``cert_dir`` share."""
    return Shelf(private_folder(cert_dir) / "acme", clock)


def renewer_in(
    cert_dir: Path,
    options: OrderOptions,
    *,
    store: CertificateStore | None = None,
    clock: Clock = SYSTEM_CLOCK,
    hook: Hook | None = None,
) -> Renewer:
    """Return the renewer of one domain, whose pair is ``cert_dir/<domain>``; its options are remembered there."""
    folder = private_folder(private_folder(cert_dir) / options.domain.lower())
    write_whole(folder / ORDER, to_json(options), mode=PUBLIC)
    return Renewer(options, folder, store or shelf_in(cert_dir, clock), clock=clock, hook=hook)


def orders_in(cert_dir: Path) -> list[OrderOptions]:
    """Return the orders that ``cert_dir`` remembers."""
    return [from_json(path) for path in sorted(cert_dir.glob(f"*/{ORDER}"))]
