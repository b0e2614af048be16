"""Keep a certificate good: order it, renew it in time, hand it to every host. One of them orders, all adopt."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import AddressInUse, CertificateNotIssued, CertificateRefused, QuadraError, TermsNotAgreed
from quadra_matrix.events import Event, Hook
from quadra_matrix.events.tls import CertificateRenewed, RenewalAdvised, RenewalFailed
from quadra_matrix.store.certificates import CertificateStore
from quadra_matrix.tls.acme import CONVERSATION, Conversation, new_key
from quadra_matrix.tls.authority import Issued, pem_of_key
from quadra_matrix.tls.challenges import answering, entry_of
from quadra_matrix.tls.files import one_at_a_time, private_folder
from quadra_matrix.tls.inspection import Inspection, covers_name, inspect_pair, names_of
from quadra_matrix.tls.ordering import OrderOptions
from quadra_matrix.tls.pairs import Pair, pair_in, replace_pair
from quadra_matrix.tls.records import Account, Progress, Records
from quadra_matrix.tls.renewal import (
    DAY,
    FIRST_PAUSE,
    Attempts,
    Life,
    Standing,
    Window,
    ask_again_in,
    due_at,
    next_attempt,
    order_at,
    standing,
)

log = logging.getLogger(__name__)

LEASE = CONVERSATION + 60.0
"""Seconds that the leader may take; then another host tries."""

SOON, LATEST = 15.0, 3600.0
"""Seconds until the next look: while another host orders, and at most."""

START = 2 * LEASE
"""Seconds that a start waits for the first certificate."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one look came to."""

    wait: float
    """Seconds until the next look."""
    issued: bool = False
    failure: CertificateNotIssued | None = None
    """Why there is no new certificate although one is due."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a certificate and its renewal stand; times are seconds since the epoch."""

    domain: str
    standing: Standing
    expires: float | None
    due: float | None
    window: Window | None
    attempts: Attempts


class Renewer:
    """Keep the certificate of ``options`` good in ``folder``. One thread looks; ``status`` may be asked by any.

    All processes that name one ``store`` order together: one of them leads, the others adopt what it got.
    """

    def __init__(
        self,
        options: OrderOptions,
        folder: Path,
        store: CertificateStore,
        *,
        clock: Clock = SYSTEM_CLOCK,
        hook: Hook | None = None,
    ) -> None:
        """Without a ``hook`` events are logged."""
        self._options, self._folder, self._store = options, folder, store
        self._clock, self._hook = clock, hook or in_words
        self._records = Records(store, options)
        self._holder = secrets.token_hex(8)

    def obtain(self, *, force: bool = False) -> Pair:
        """Return the pair once it is good, ordered if there is none; ``force`` orders in any case.

        A failure is raised unless an earlier certificate can serve meanwhile. ``force`` skips our own pauses, never
        the authority's.
        """
        deadline = self._clock.monotonic() + START
        while True:
            outcome = self.look(force=force)
            if outcome.failure is not None and (force or not self._can_serve()):
                raise outcome.failure
            if outcome.issued or (self._can_serve() and not force):
                return pair_in(self._folder)
            if self._clock.monotonic() >= deadline:
                raise CertificateNotIssued(self._options.domain, "another process orders it and is not done in time")
            self._clock.sleep(1.0)

    def look(self, *, force: bool = False) -> Outcome:
        """Adopt what another host got; ask, and order, what is due."""
        held = self._adopt()
        progress = self._progress(held)
        if not force and self._clock.now() < self._act_at(held, progress):
            outcome = self._rest(held, progress)
            if outcome.failure is None:
                return outcome
        # An attempt counts as failed until it succeeds: whoever leads now may be at it.
        if not self._store.lead(self._records.lease, self._holder, LEASE):
            return Outcome(SOON)
        try:
            return self._lead(force=force)
        finally:
            self._store.leave(self._records.lease, self._holder)

    def status(self) -> Status:
        """Return how the certificate stands; it is read, nothing is changed."""
        held = self._held(self._records.pair())
        progress = self._progress(held)
        due = due_at(_life_of(held), progress.window, self._chance(held)) if held else None
        now = self._clock.now()
        stands = standing(_life_of(held) if held else None, due or 0.0, progress.attempts, now)
        expires = held.expires if held else None
        return Status(self._options.domain, stands, expires, due, progress.window, progress.attempts)

    def _lead(self, *, force: bool) -> Outcome:
        """Do what is due; another leader may just have done it."""
        held = self._adopt()
        progress = self._progress(held)
        now = self._clock.now()
        if held and progress.ask_at <= now < held.expires:
            progress = self._ask(progress)
        at = progress.attempts.not_before if force else self._order_at(held, progress)
        if now < at:
            return self._rest(held, progress)
        return self._order(held, progress)

    def _ask(self, progress: Progress) -> Progress:
        """Return the progress with the authority's window; what it said before stands if it does not answer."""
        now = self._clock.now()
        try:
            with closing(self._conversation(self._account())) as authority:
                advice = authority.advice(self._certificate())
        except CertificateNotIssued as failed:
            log.info("%s was not asked for its renewal window: %s", self._options.directory, failed.reason)
            asked = replace(progress, ask_at=now + ask_again_in(failed.retry_after))
        else:
            window = advice.window if advice else None
            asked = replace(progress, window=window, ask_at=now + ask_again_in(advice.ask_in if advice else None))
            if advice and window and window != progress.window:
                self._hook(RenewalAdvised(self._options.domain, window.start, window.end, advice.explanation))
        self._records.keep_progress(asked)
        return asked

    def _order(self, held: Inspection | None, progress: Progress) -> Outcome:
        """Order, and keep what became of it. An attempt counts as failed until it succeeds, should we die meanwhile."""
        now = self._clock.now()
        attempts = replace(
            progress.attempts, failures=progress.attempts.failures + 1, last=now, reason="the order was not finished"
        )
        self._records.keep_progress(replace(progress, attempts=attempts))
        try:
            issued = self._issue(held)
        except (TermsNotAgreed, AddressInUse) as ours:  # nothing was ordered, so the repaired attempt need not wait
            self._records.keep_progress(progress)
            return self._failed(_as_failure(self._options.domain, ours), now + FIRST_PAUSE)
        except (QuadraError, OSError) as failed:
            failure = _as_failure(self._options.domain, failed)
            asked = now if failure.retry_after is None else self._clock.now() + failure.retry_after
            attempts = replace(attempts, reason=failure.reason, not_before=asked)
            self._records.keep_progress(replace(progress, attempts=attempts))
            return self._failed(failure, next_attempt(attempts, self._chance(held)))
        self._hook(CertificateRenewed(self._options.domain, issued.serial, issued.expires))
        return replace(self._rest(issued, self._progress(issued)), issued=True)

    def _issue(self, held: Inspection | None) -> Inspection:
        """Return the new certificate, which every host will find."""
        account = self._account()
        tokens: list[str] = []

        def publish(token: str, text: str) -> None:
            tokens.append(token)
            self._store.write(entry_of(token), text.encode(), until=self._clock.now() + CONVERSATION)

        with closing(self._conversation(account)) as authority:
            authority.sign_in(known_email=account.email)
            if account.email != self._options.email:
                self._records.keep_account(replace(account, email=self._options.email))
            key = new_key()
            try:
                with answering(self._store, self._options.http_port, self._options.http_address):
                    chain = authority.order(key, publish, self._certificate() if held else None)
            finally:
                for token in tokens:
                    self._store.write(entry_of(token), None)
        issued = Issued(chain, pem_of_key(key))
        self._require_good(issued)
        if not self._store.lead(self._records.lease, self._holder, LEASE):
            raise CertificateNotIssued(self._options.domain, "another host took the order over")
        self._records.keep_pair(issued)
        adopted = self._adopt()
        if adopted is None:
            raise CertificateNotIssued(self._options.domain, "the certificate was issued and could not be read back")
        self._records.keep_progress(Progress(adopted.fingerprint))
        return adopted

    def _require_good(self, issued: Issued) -> None:
        """Raise unless the certificate is for our key and names: nothing else may replace one that works."""
        try:
            leaf = x509.load_pem_x509_certificates(issued.certificate)[0]
        except ValueError as broken:
            raise CertificateNotIssued(self._options.domain, "the authority sent no certificate in PEM") from broken
        held = names_of(leaf)
        absent = [name for name in self._options.names if not covers_name(held, name)]
        if absent:
            raise CertificateNotIssued(self._options.domain, f"what was issued is not for {', '.join(absent)}")

    def _adopt(self) -> Inspection | None:
        """Put what the leader got where the server looks, and return it; None if there is nothing good."""
        shared = self._records.pair()
        if shared is not None:
            with one_at_a_time(private_folder(self._folder)):
                if not self._is_here(shared):
                    replace_pair(self._folder, certificate=shared.certificate, key=shared.key)
        return self._held(shared)

    def _held(self, shared: Issued | None) -> Inspection | None:
        """Return the pair that all hosts share if it serves here and is for our names, expired or not."""
        if shared is None or not self._is_here(shared):
            return None
        pair = pair_in(self._folder)
        try:
            found = inspect_pair(pair.certificate, pair.key, now=self._clock.now())
        except CertificateRefused:
            return None
        return found if all(covers_name(found.names, name) for name in self._options.names) else None

    def _is_here(self, shared: Issued) -> bool:
        pair = pair_in(self._folder)
        try:
            return pair.certificate.read_bytes() == shared.certificate and pair.key.read_bytes() == shared.key
        except OSError:
            return False

    def _can_serve(self) -> bool:
        """Tell whether the pair in the folder is good now, whoever issued it."""
        pair = pair_in(self._folder)
        try:
            found = inspect_pair(pair.certificate, pair.key, names=self._options.names, now=self._clock.now())
        except CertificateRefused:
            return False
        return not found.faults

    def _account(self) -> Account:
        """Return the account, with a key at least; a key that was made is kept before anybody hears of it."""
        known = self._records.account()
        if known is None:
            known = Account(pem_of_key(new_key()))
            self._records.keep_account(known)
        return known

    def _conversation(self, account: Account) -> Conversation:
        return Conversation(self._options, account.key, clock=self._clock)

    def _certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificates(pair_in(self._folder).certificate.read_bytes())[0]

    def _progress(self, held: Inspection | None) -> Progress:
        return self._records.progress(held.fingerprint if held else "")

    def _chance(self, held: Inspection | None) -> float:
        """Return the draw of this certificate: the same on every host, and after every restart."""
        drawn = hashlib.sha256((held.fingerprint if held else self._options.domain).encode()).digest()
        return int.from_bytes(drawn[:4]) / 2**32

    def _order_at(self, held: Inspection | None, progress: Progress) -> float:
        return order_at(_life_of(held) if held else None, progress.window, progress.attempts, self._chance(held))

    def _act_at(self, held: Inspection | None, progress: Progress) -> float:
        """Return when there is something to ask or to order."""
        order = self._order_at(held, progress)
        return min(order, progress.ask_at) if held and self._clock.now() < held.expires else order

    def _rest(self, held: Inspection | None, progress: Progress) -> Outcome:
        """Return when to look again; and why there is no certificate that is good now, if there is none."""
        now = self._clock.now()
        wait = min(LATEST, max(SOON, self._act_at(held, progress) - now))
        if (held is not None and now < held.expires) or not progress.attempts.failures:
            return Outcome(wait)
        left = self._order_at(held, progress) - now
        return Outcome(
            wait, failure=CertificateNotIssued(self._options.domain, f"last time: {progress.attempts.reason}", left)
        )

    def _failed(self, failure: CertificateNotIssued, next_try: float) -> Outcome:
        self._hook(RenewalFailed(self._options.domain, failure.reason, next_try))
        return Outcome(min(LATEST, max(SOON, next_try - self._clock.now())), failure=failure)


def keep_good(renewer: Renewer, stop: threading.Event, after: float = 0.0) -> None:
    """Look until stopped, first ``after`` so many seconds.

    A look that fails is logged: what is away now must not end all later ones.
    """
    wait = after
    while not stop.wait(wait):
        try:
            wait = renewer.look().wait
        except Exception:  # the edge of the thread
            log.exception("the certificate could not be looked after; the next look is in %g s", SOON)
            wait = SOON


def in_words(event: Event) -> None:
    """Log what a renewer announces: the default hook."""
    match event:
        case CertificateRenewed(domain, serial):
            log.info("%s has a new certificate, serial %s", domain, serial)
        case RenewalFailed(domain, reason):
            log.error("%s has no new certificate: %s", domain, reason)
        case RenewalAdvised(domain, start, end, explanation):
            days = (end - start) / DAY
            why = explanation or "no reason is given"
            log.info("%s is to be renewed in a window of %.1f days: %s", domain, days, why)


def _life_of(held: Inspection) -> Life:
    return Life(held.begins, held.expires)


def _as_failure(domain: str, failed: QuadraError | OSError) -> CertificateNotIssued:
    return failed if isinstance(failed, CertificateNotIssued) else CertificateNotIssued(domain, str(failed))
