"""A certificate is ordered once, renewed when the authority asks, and never lost by a failure."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import CertificateNotIssued, InvalidValue, TermsNotAgreed
from quadra_matrix.events.tls import CertificateRenewed, RenewalAdvised, RenewalFailed
from quadra_matrix.store.certificates import CertificateStore
from quadra_matrix.testing import FakeClock, RecordingHook
from quadra_matrix.tls.acme import certificate_id
from quadra_matrix.tls.authority import issue_server, local_authority
from quadra_matrix.tls.inspection import inspect_pair, read_certificates
from quadra_matrix.tls.ordering import OrderOptions
from quadra_matrix.tls.renewal import DAY, HOUR, Standing
from quadra_matrix.tls.renewer import Outcome, Renewer, keep_good
from quadra_matrix.tls.shelf import Shelf
from tests.services.process import free_port
from tests.tls.acme_stub import StubAuthority, stub_authority

DOMAIN = "shop.example.test"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def authority(tmp_path: Path, clock: FakeClock) -> Iterator[StubAuthority]:
    with stub_authority(tmp_path / "authority", clock) as stub:
        stub.window = (clock.now() + 4 * DAY, clock.now() + 4.5 * DAY)
        yield stub


class Host:
    """One host that serves the domain."""

    def __init__(
        self, folder: Path, authority: StubAuthority, clock: FakeClock, store: CertificateStore, **options: object
    ) -> None:
        asked = {"http_port": None, "agree_to_terms": True, "directory": f"{authority.url}/directory", **options}
        self.hook, self.folder = RecordingHook(), folder
        order = OrderOptions(DOMAIN, "ops@example.test", **asked)  # type: ignore[arg-type]
        self.renewer = Renewer(order, folder, store, clock=clock, hook=self.hook)

    def look(self) -> Outcome:
        return self.renewer.look()

    @property
    def serial(self) -> str:
        return inspect_pair(self.folder / "cert.pem", self.folder / "key.pem", now=SYSTEM_CLOCK.now()).serial

    @property
    def name(self) -> str:
        """The certificate's name in renewal information."""
        return certificate_id(read_certificates(self.folder / "cert.pem")[0])


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Shelf:
    return Shelf(tmp_path / "shelf", clock)


@pytest.fixture
def host(tmp_path: Path, authority: StubAuthority, clock: FakeClock, store: Shelf) -> Host:
    return Host(tmp_path / "one", authority, clock, store)


# The first certificate


def test_a_certificate_is_ordered_for_every_name(
    tmp_path: Path, authority: StubAuthority, clock: FakeClock, store: Shelf
) -> None:
    host = Host(tmp_path / "one", authority, clock, store, also=("www.example.test", DOMAIN.upper()))

    certificate, key = host.renewer.obtain()

    found = inspect_pair(certificate, key, roots=authority.folder / "ca.pem", now=clock.now())
    assert (found.names, found.key, found.faults) == ((DOMAIN, "www.example.test"), "EC secp256r1", ())
    assert key.stat().st_mode & 0o777 == 0o600
    assert host.hook.events == [CertificateRenewed(DOMAIN, found.serial, found.expires)]
    assert authority.asked("newAccount") == [{"contact": ["mailto:ops@example.test"], "termsOfServiceAgreed": True}]


def test_a_good_certificate_is_kept_without_asking_anybody(host: Host, authority: StubAuthority) -> None:
    host.renewer.obtain()
    host.look()
    serial, asked = host.serial, len(authority.seen)

    host.renewer.obtain()

    assert (host.serial, len(authority.seen)) == (serial, asked)


def test_the_terms_of_service_are_agreed_to_first(
    tmp_path: Path, authority: StubAuthority, clock: FakeClock, store: Shelf
) -> None:
    host = Host(tmp_path / "one", authority, clock, store, agree_to_terms=False)

    with pytest.raises(TermsNotAgreed, match="/terms"):
        host.renewer.obtain()

    assert authority.asked("newOrder") == []
    assert Host(tmp_path / "one", authority, clock, store).renewer.obtain().certificate.exists()


def test_they_are_agreed_to_once(tmp_path: Path, authority: StubAuthority, clock: FakeClock, store: Shelf) -> None:
    Host(tmp_path / "one", authority, clock, store).renewer.obtain()
    later = Host(tmp_path / "one", authority, clock, store, agree_to_terms=False)

    later.renewer.obtain(force=True)

    assert len(authority.orders) == 2


def test_another_name_is_another_certificate(
    tmp_path: Path, authority: StubAuthority, clock: FakeClock, store: Shelf, host: Host
) -> None:
    host.renewer.obtain()
    wider = Host(host.folder, authority, clock, store, also=("www.example.test",))

    wider.renewer.obtain()

    assert inspect_pair(host.folder / "cert.pem", now=clock.now()).names == (DOMAIN, "www.example.test")


def test_a_trial_never_stands_in_for_the_real_one(
    tmp_path: Path, authority: StubAuthority, clock: FakeClock, store: Shelf, host: Host
) -> None:
    """Two directories are two authorities: an account, a pair and a past of its own each."""
    host.renewer.obtain()
    with stub_authority(tmp_path / "other", clock) as other:
        real = Host(host.folder, other, clock, store)

        real.renewer.obtain()

        assert (len(other.accounts), other.asked("newOrder")[0].get("replaces")) == (1, None)
        assert real.serial == host.serial


def test_a_new_address_is_told_to_the_authority(
    tmp_path: Path, authority: StubAuthority, clock: FakeClock, store: Shelf, host: Host
) -> None:
    host.renewer.obtain()
    order = OrderOptions(DOMAIN, "new@example.test", directory=f"{authority.url}/directory", http_port=None)
    moved = Renewer(order, host.folder, store, clock=clock)

    moved.obtain(force=True)
    moved.obtain(force=True)

    assert authority.asked("account") == [{"contact": ["mailto:new@example.test"]}]


# When it is renewed


def test_it_is_renewed_in_the_window_of_the_authority(host: Host, authority: StubAuthority, clock: FakeClock) -> None:
    host.renewer.obtain()
    first, name = host.serial, host.name
    assert authority.window is not None

    while host.serial == first:
        now = clock.now()
        outcome = host.look()
        assert 0 < outcome.wait <= HOUR
        clock.advance(outcome.wait)

    assert authority.window[0] <= now <= authority.window[1] + HOUR
    assert [order.get("replaces") for order in authority.asked("newOrder")] == [None, name]
    assert len(authority.accounts) == 1


def test_a_window_in_the_past_means_at_once(host: Host, authority: StubAuthority, clock: FakeClock) -> None:
    """An authority that must revoke moves the window; the page it names says why."""
    host.renewer.obtain()
    host.look()
    first = host.serial
    authority.window, authority.explanation = (clock.now() - DAY, clock.now() - HOUR), "https://ca.test/incident"
    clock.advance(6 * HOUR)

    assert host.look().issued

    assert host.serial != first
    advised = host.hook.of(RenewalAdvised)
    assert (len(advised), advised[-1].explanation) == (2, "https://ca.test/incident")


@pytest.mark.parametrize(("told", "waits"), [(None, 6 * HOUR), ("7200", 2 * HOUR), ("1", 60), ("999999", DAY)])
def test_the_window_is_asked_for_again_when_the_authority_says(
    host: Host, authority: StubAuthority, clock: FakeClock, told: str | None, waits: float
) -> None:
    authority.renewal_retry_after = told
    host.renewer.obtain()
    host.look()
    assert len(authority.asked("renewalInfo")) == 1

    clock.advance(waits - 1)
    host.look()
    assert len(authority.asked("renewalInfo")) == 1
    clock.advance(1)
    host.look()

    assert len(authority.asked("renewalInfo")) == 2


def test_without_renewal_information_half_of_a_short_life_is_used(
    host: Host, authority: StubAuthority, clock: FakeClock
) -> None:
    authority.offers_renewal_info = False
    host.renewer.obtain()
    host.look()

    clock.advance(2.8 * DAY)
    assert not host.look().issued
    clock.advance(0.2 * DAY)

    assert host.look().issued
    assert authority.asked("newOrder")[-1].get("replaces") is None


def test_a_window_that_ends_before_it_begins_is_none(host: Host, authority: StubAuthority, clock: FakeClock) -> None:
    authority.window = (clock.now() - DAY, clock.now() - 2 * DAY)
    host.renewer.obtain()

    assert not host.look().issued
    clock.advance(3 * DAY)
    assert host.look().issued


def test_an_authority_that_does_not_tell_the_window_is_asked_later(
    host: Host, authority: StubAuthority, clock: FakeClock
) -> None:
    host.renewer.obtain()
    authority.refuse("renewalInfo", 503, "serverInternal", "busy")

    assert host.look().failure is None
    clock.advance(6 * HOUR)
    host.look()

    assert host.hook.of(RenewalAdvised) != []


def test_an_expired_certificate_is_not_asked_about(host: Host, authority: StubAuthority, clock: FakeClock) -> None:
    host.renewer.obtain()
    clock.advance(7 * DAY)

    assert host.renewer.status().standing is Standing.EXPIRED
    assert host.look().issued
    assert authority.asked("renewalInfo") == []


def test_an_authority_that_saw_it_replaced_gets_an_order_without_it(host: Host, authority: StubAuthority) -> None:
    host.renewer.obtain()
    authority.issued[host.name] = (authority.issued[host.name][0], "another order")

    host.renewer.obtain(force=True)

    assert [("replaces" in order) for order in authority.asked("newOrder")] == [False, True, False]


def test_the_draw_is_the_same_after_every_restart(
    host: Host, authority: StubAuthority, clock: FakeClock, store: Shelf
) -> None:
    host.renewer.obtain()
    host.look()
    again = Host(host.folder, authority, clock, store)

    assert again.renewer.status().due == host.renewer.status().due


# Failures


def test_a_failure_keeps_the_old_certificate(host: Host, authority: StubAuthority, clock: FakeClock) -> None:
    host.renewer.obtain()
    before = host.serial
    authority.offers_renewal_info = False
    authority.refuse("newOrder", 403, "rejectedIdentifier", "the name is forbidden")
    clock.advance(4 * DAY)

    outcome = host.look()

    assert outcome.failure is not None
    assert outcome.failure.reason == "the name is forbidden"
    assert host.serial == before
    told = host.hook.of(RenewalFailed)[0]
    assert told.reason == "the name is forbidden"
    assert 15 * 60 <= told.next_try - clock.now() <= 16.5 * 60


def test_pauses_between_attempts_grow(host: Host, authority: StubAuthority, clock: FakeClock) -> None:
    host.renewer.obtain()
    authority.offers_renewal_info = False
    clock.advance(3 * DAY)
    tried: list[float] = []
    while clock.now() < host.renewer.status().expires:  # type: ignore[operator]
        authority.refusals.clear()
        authority.refuse("newOrder", 500, "serverInternal", "it does not work")
        outcome = host.look()
        if outcome.failure:
            tried.append(clock.now())
        clock.advance(outcome.wait)

    pauses = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert pauses == sorted(pauses)
    assert 15 <= pauses[0] / 60 <= 17.5
    assert 8 <= len(tried) <= 13


def test_the_authority_says_when_to_come_back(host: Host, authority: StubAuthority, clock: FakeClock) -> None:
    authority.refuse("newOrder", 429, "rateLimited", "too many certificates", retry_after="86400")

    with pytest.raises(CertificateNotIssued, match="too many certificates; try again in 86400 s") as refused:
        host.renewer.obtain()
    assert refused.value.retry_after == 86400

    for force in (False, True):
        with pytest.raises(CertificateNotIssued, match="last time: too many certificates"):
            host.renewer.obtain(force=force)
    clock.advance(DAY)
    host.renewer.obtain(force=True)
    assert len(authority.asked("newOrder")) == 1


def test_a_person_does_not_wait_for_our_pauses(host: Host, authority: StubAuthority) -> None:
    authority.refuse("newOrder", 403, "rejectedIdentifier", "the name is forbidden")
    with pytest.raises(CertificateNotIssued):
        host.renewer.obtain()

    assert host.renewer.obtain(force=True).certificate.exists()


def test_an_attempt_that_dies_counts(host: Host, authority: StubAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is killed in every order must not use the authority's limits up."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("quadra_matrix.tls.renewer.new_key", killed)
        with pytest.raises(KeyboardInterrupt):
            host.look()

    with pytest.raises(CertificateNotIssued, match="the order was not finished"):
        host.renewer.obtain()
    assert authority.orders == {}


def test_a_full_disk_is_a_failure_like_any_other(
    host: Host, authority: StubAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("quadra_matrix.tls.records.Records.keep_pair", full)
        assert str(host.look().failure) == f"no certificate for {DOMAIN}: no space left on device"

    assert host.look().failure is not None
    assert len(authority.orders) == 1


@pytest.mark.parametrize(
    "resource", ["directory", "newAccount", "authorization", "challenge", "finalize", "certificate"]
)
def test_a_refusal_anywhere_is_a_reason(host: Host, authority: StubAuthority, resource: str) -> None:
    authority.refuse(resource, 500, "serverInternal", "out of order")

    assert host.look().failure is not None
    assert host.renewer.status().attempts.reason == "out of order"
    host.renewer.obtain(force=True)
    assert host.renewer.status().attempts.failures == 0


def test_what_is_no_certificate_replaces_nothing(host: Host, authority: StubAuthority) -> None:
    host.renewer.obtain()
    before = host.serial
    authority.spoils_certificate = True

    with pytest.raises(CertificateNotIssued, match="no certificate in PEM"):
        host.renewer.obtain(force=True)

    assert host.serial == before


def test_what_is_for_other_names_replaces_nothing(
    host: Host, authority: StubAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("other.example.test")])
    sign = authority.sign
    monkeypatch.setattr(authority, "sign", lambda key, _, account: sign(key, names, account))

    with pytest.raises(CertificateNotIssued, match=f"what was issued is not for {DOMAIN}"):
        host.renewer.obtain()

    assert not (host.folder / "cert.pem").exists()


def test_an_order_that_fails_at_its_end_says_why(host: Host, authority: StubAuthority) -> None:
    authority.fails_orders = True

    with pytest.raises(CertificateNotIssued, match="the CAA record forbids it"):
        host.renewer.obtain()


def test_an_authority_without_http_01_is_no_use(host: Host, authority: StubAuthority) -> None:
    authority.offers_http = False

    with pytest.raises(CertificateNotIssued, match=f"no http-01 challenge is offered for {DOMAIN}"):
        host.renewer.obtain()


def test_an_answer_that_makes_no_sense_is_a_failure(
    host: Host, authority: StubAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority, "directory", lambda: {"meta": {}})

    with pytest.raises(CertificateNotIssued, match="makes no sense"):
        host.renewer.obtain()


def test_bad_nonces_are_drawn_again(host: Host, authority: StubAuthority) -> None:
    for _ in range(5):
        authority.refuse("newOrder", 400, "badNonce", "another one, please")

    host.renewer.obtain()

    assert len(authority.orders) == 1


def test_an_authority_without_good_nonces_is_left(host: Host, authority: StubAuthority) -> None:
    for _ in range(30):
        authority.refuse("newOrder", 400, "badNonce", "another one, please")

    assert host.look().failure is not None
    assert len(authority.refusals["newOrder"]) >= 10


@pytest.mark.parametrize(("told", "waits"), [(None, 0.5), ("4", 4.0), ("0", 0.5)])
def test_an_order_that_is_processed_is_looked_at_when_the_authority_says(
    host: Host, authority: StubAuthority, clock: FakeClock, told: str | None, waits: float
) -> None:
    authority.polls_until_issued, authority.poll_retry_after = 2, told

    host.renewer.obtain()

    assert clock.slept[:1] == [waits]
    assert len(clock.slept) == 2


def test_an_order_that_never_ends_is_left(host: Host, authority: StubAuthority, clock: FakeClock) -> None:
    authority.polls_until_issued = 10_000
    began = clock.now()

    with pytest.raises(CertificateNotIssued, match="not done in time"):
        host.renewer.obtain()

    assert clock.now() - began <= 180


def test_an_authority_that_nobody_reaches_is_a_failure(
    tmp_path: Path, authority: StubAuthority, clock: FakeClock, store: Shelf
) -> None:
    host = Host(tmp_path / "one", authority, clock, store, directory=f"http://127.0.0.1:{free_port()}/directory")

    with pytest.raises(CertificateNotIssued, match="cannot be reached"):
        host.renewer.obtain()


# Challenges


def test_the_port_answers_while_an_order_runs(
    tmp_path: Path, authority: StubAuthority, clock: FakeClock, store: Shelf
) -> None:
    authority.validates_on = free_port()
    host = Host(tmp_path / "one", authority, clock, store, http_port=authority.validates_on, http_address="127.0.0.1")

    host.renewer.obtain()

    assert authority.fetched(DOMAIN, "any-token-at-all-0") is None
    assert not list((tmp_path / "shelf").glob("answer-*"))


def test_a_name_that_is_proved_already_is_not_proved_again(host: Host, authority: StubAuthority) -> None:
    authority.knows_names = True

    host.renewer.obtain()

    assert authority.asked("challenge") == []


def test_a_name_that_is_not_proved_is_named(host: Host, authority: StubAuthority) -> None:
    authority.validates_on = free_port()

    with pytest.raises(CertificateNotIssued, match=f"{DOMAIN} was not validated: no answer came"):
        host.renewer.obtain()


def test_a_port_in_use_is_named(tmp_path: Path, authority: StubAuthority, clock: FakeClock, store: Shelf) -> None:
    taken = int(authority.url.rsplit(":", 1)[1])
    host = Host(tmp_path / "one", authority, clock, store, http_port=taken, http_address="127.0.0.1")

    for _ in range(2):
        with pytest.raises(CertificateNotIssued, match=f"cannot listen on 127.0.0.1:{taken}"):
            host.renewer.obtain()

    assert authority.asked("newOrder") == []


# Several hosts


@pytest.fixture
def other(tmp_path: Path, authority: StubAuthority, clock: FakeClock, store: Shelf) -> Host:
    return Host(tmp_path / "two", authority, clock, store)


def test_two_hosts_share_one_order(host: Host, other: Host, authority: StubAuthority, clock: FakeClock) -> None:
    host.renewer.obtain()
    other.renewer.obtain()
    assert host.serial == other.serial

    clock.advance(5 * DAY)
    assert host.look().issued
    authority.window = (clock.now() + 4 * DAY, clock.now() + 4.5 * DAY)
    assert not other.look().issued

    assert host.serial == other.serial
    assert len(authority.orders) == 2


def test_while_one_host_orders_the_other_waits(host: Host, other: Host, store: Shelf, authority: StubAuthority) -> None:
    lease = f"orders-{hashlib.sha256(f'{authority.url}/directory'.encode()).hexdigest()[:12]}"
    store.lead(lease, "somebody", 60)

    with pytest.raises(CertificateNotIssued, match="another process orders it"):
        other.renewer.obtain()
    store.leave(lease, "somebody")

    assert other.renewer.obtain().certificate.exists()


class LosingShelf(Shelf):
    """A shelf whose lease goes to somebody else while its holder orders."""

    asked = 0

    def lead(self, name: str, holder: str, seconds: float) -> bool:
        self.asked += 1
        return self.asked == 1 and super().lead(name, holder, seconds)


def test_a_leader_that_lost_its_lease_replaces_nothing(
    tmp_path: Path, authority: StubAuthority, clock: FakeClock
) -> None:
    slow = Host(tmp_path / "one", authority, clock, LosingShelf(tmp_path / "shelf", clock))

    failure = slow.look().failure

    assert failure is not None
    assert failure.reason == "another host took the order over"
    assert not (slow.folder / "cert.pem").exists()


def test_hosts_that_start_together_share_one_order(tmp_path: Path) -> None:
    with stub_authority(tmp_path / "authority", SYSTEM_CLOCK) as authority:
        order = OrderOptions(
            DOMAIN, "ops@example.test", directory=f"{authority.url}/directory", agree_to_terms=True, http_port=None
        )
        hosts = [Renewer(order, tmp_path / f"host-{each}", Shelf(tmp_path / "shelf")) for each in range(4)]
        threads = [threading.Thread(target=each.obtain) for each in hosts]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert len(authority.orders) == 1
        assert len({path.read_bytes() for path in tmp_path.glob("host-*/cert.pem")}) == 1
        assert len(list(tmp_path.glob("host-*/cert.pem"))) == 4


def test_a_pair_that_somebody_spoilt_is_put_back(host: Host, authority: StubAuthority) -> None:
    host.renewer.obtain()
    before = host.serial
    (host.folder / "cert.pem").unlink()

    host.look()

    assert (host.serial, len(authority.orders)) == (before, 1)


def test_an_old_pair_serves_while_a_new_authority_does_not_answer(
    host: Host, store: Shelf, authority: StubAuthority, clock: FakeClock
) -> None:
    host.renewer.obtain()
    moved = Host(host.folder, authority, clock, store, directory=f"http://127.0.0.1:{free_port()}/directory")

    pair = moved.renewer.obtain()

    assert inspect_pair(*pair, names=[DOMAIN], now=clock.now()).faults == ()
    assert "cannot be reached" in moved.hook.of(RenewalFailed)[0].reason


# What shows


def test_a_failure_shows_in_the_last_third(host: Host, authority: StubAuthority, clock: FakeClock) -> None:
    authority.offers_renewal_info = False
    assert host.renewer.status().standing is Standing.MISSING
    host.renewer.obtain()
    clock.advance(3 * DAY)
    authority.refuse("newOrder", 500, "serverInternal", "out of order")
    host.look()
    assert host.renewer.status().standing is Standing.GOOD

    clock.advance(1.1 * DAY)

    status = host.renewer.status()
    assert (status.standing, status.attempts.failures) == (Standing.LATE, 1)


def test_status_changes_nothing(host: Host, authority: StubAuthority, tmp_path: Path) -> None:
    host.renewer.status()

    assert authority.seen == []
    assert not host.folder.exists()


def test_without_a_listener_it_is_logged(
    host: Host, store: Shelf, authority: StubAuthority, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    order = OrderOptions(DOMAIN, "ops@example.test", directory=f"{authority.url}/directory", agree_to_terms=True)
    alone = Renewer(replace(order, http_port=None), host.folder, store, clock=clock)
    authority.explanation = "https://ca.test/incident"

    with caplog.at_level("INFO"):
        alone.obtain()
        alone.look()
        authority.refuse("newOrder", 500, "serverInternal", "out of order")
        clock.advance(6 * DAY)
        alone.look()

    told = [record.getMessage() for record in caplog.records if record.name == "quadra_matrix.tls.renewer"]
    assert told == [
        f"{DOMAIN} has a new certificate, serial {host.serial}",
        f"{DOMAIN} is to be renewed in a window of 0.5 days: https://ca.test/incident",
        f"{DOMAIN} has no new certificate: out of order",
    ]


# The thread


def test_the_thread_goes_on_after_an_error_and_ends_when_told(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()
    looked: list[int] = []

    def look(_: Renewer) -> Outcome:
        looked.append(1)
        if len(looked) == 1:
            raise ZeroDivisionError
        stop.set()
        return Outcome(0.0)

    monkeypatch.setattr("quadra_matrix.tls.renewer.SOON", 0.0)
    monkeypatch.setattr(Renewer, "look", look)

    keep_good(host.renewer, stop)

    assert len(looked) == 2
    assert "the next look is in 0 s" in caplog.text


# Names and options


def test_the_name_of_a_certificate_is_that_of_the_standard(tmp_path: Path) -> None:
    """RFC 9773, 4.1: the authority's key identifier and the serial, the latter with its leading zero byte."""
    issued = issue_server(local_authority(tmp_path), ["localhost"], days=1, now=SYSTEM_CLOCK.now())
    (tmp_path / "cert.pem").write_bytes(issued.certificate)
    certificate = read_certificates(tmp_path / "cert.pem")[0]

    class Example:
        serial_number = 0x8765_4321
        extensions = certificate.extensions

    assert certificate_id(Example).endswith(".AIdlQyE")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("domain", {"domain": "*.example.test"}),
        ("domain", {"domain": "127.0.0.1"}),
        ("domain", {"domain": "localhost"}),
        ("domain", {"also": ("::1",)}),
        ("name", {"domain": "two words"}),
        ("email", {"email": "nobody"}),
        ("directory", {"directory": "http://ca.example.test/directory"}),
        ("directory", {"directory": "ca.example.test"}),
        ("http_port", {"http_port": 0}),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(field: str, options: dict[str, object]) -> None:
    asked = {"domain": DOMAIN, "email": "ops@example.test", **options}

    with pytest.raises(InvalidValue, match=field):
        OrderOptions(**asked)  # type: ignore[arg-type]
