"""The certificate of a development server: signed by a local authority, kept while it is good, replaced whole."""

from __future__ import annotations

from pathlib import Path

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import CertificateRefused, require
from quadra_matrix.tls.authority import LOOPBACKS, Authority, issue_server, local_authority
from quadra_matrix.tls.files import one_at_a_time
from quadra_matrix.tls.inspection import inspect_pair
from quadra_matrix.tls.pairs import Pair, pair_in, replace_pair

LONGEST_LIFE = 825
"""Days; Apple's systems refuse a server certificate that lives longer, whoever signed it."""


def generate_self_signed_cert(
    cert_dir: str | Path = "certs",
    days_valid: float = 365,
    common_name: str = "localhost",
    *,
    clock: Clock = SYSTEM_CLOCK,
) -> Pair:
    """Return a certificate and key for ``common_name``, localhost and both loopback addresses.

    The pair in ``cert_dir`` is kept until two thirds of its life have passed, if it is whole, ours and for these names.
    The local authority that signs it is made on first use; a client that trusts ``cert_dir/ca.pem`` accepts the pair.
    """
    require(0 < days_valid <= LONGEST_LIFE, "days_valid", days_valid, f"above 0 and at most {LONGEST_LIFE} days")
    folder = Path(cert_dir)
    authority = local_authority(folder, (common_name,), clock=clock)
    names = tuple(dict.fromkeys((common_name, "localhost", *LOOPBACKS)))
    with one_at_a_time(folder):
        if _is_good(pair_in(folder), authority, names, clock.now()):
            return pair_in(folder)
        issued = issue_server(authority, names, days=days_valid, now=clock.now())
        return replace_pair(folder, certificate=issued.certificate, key=issued.key)


def stand_in(folder: Path, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Pair:
    """Return the pair of ``folder``, whoever signed it; one that we sign if there is none, until a better one comes."""
    authority = local_authority(folder, (name,), clock=clock)
    with one_at_a_time(folder):
        pair = pair_in(folder)
        if pair.certificate.exists() and pair.key.exists():
            return pair
        issued = issue_server(authority, (name,), days=90, now=clock.now())
        return replace_pair(folder, certificate=issued.certificate, key=issued.key)


def _is_good(pair: Pair, authority: Authority, names: tuple[str, ...], now: float) -> bool:
    """Tell whether ``pair`` may go on serving."""
    try:
        found = inspect_pair(pair.certificate, pair.key, names=names, roots=authority.file, now=now)
    except CertificateRefused:
        return False
    return not found.faults and now < found.renew_at
