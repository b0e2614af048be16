"""Every error the package raises on purpose.

QuadraError
├── AuditError              base of what keeps an audit from starting
│   ├── PolicyUnreadable    the policy of an audit cannot be read; names the file and the rule
│   └── ScannerFailed       a scanner did not answer; names it
├── AccessRefused           base of what a caller may not do
│   ├── Unauthenticated     no credential, or none that holds
│   ├── Forbidden           the caller is known and may not; names the scope or the rule
│   ├── TooManyRequests     a limit is reached; says when to come back
│   └── AccessUndecided     who calls, or how often, cannot be found out now
├── UnknownKey              no API key has this id
├── BrokenReferences        a change of tables would leave rows that refer to nothing
├── DatabaseUnavailable     the database does not answer, or stays locked
├── TracesUnavailable       the file of recent traces cannot be read or written
├── TablesMissing           the database lacks a table of ours
├── BackupError             base of what backing up and restoring refuse
│   ├── BackupBusy          another backup or restore of this place is under way
│   ├── BackupMissing       the target has no backup of this name
│   ├── BackupUnreadable    a backup is cut short, changed, or not ours
│   ├── FileChanged         a file changed again and again while it was backed up
│   ├── ProgramMissing      a program of the database is not installed
│   ├── ProgramFailed       a program of the database failed
│   ├── RestoreRefused      a backup does not go into this destination; nothing was touched
│   └── TargetUnavailable   where backups are kept does not answer
├── RedisUnavailable        Redis does not answer
├── UnknownRevision         a newer version has upgraded the database
├── EventsNotDurable        events of experiments could not be made durable in time; they still wait in memory
├── ExperimentError         base of what A/B testing refuses
│   ├── ExperimentConflict  somebody else changed the experiment first
│   ├── ExperimentStateError  the experiment's status does not allow the move
│   └── UnknownExperiment   no experiment has this name
├── InvalidValue            a value breaks a rule; names field, value and rule
├── InvalidSettings         options of the service are refused; names each variable and its rule
├── MissingExtra            an optional dependency is not installed; names the extra
├── JobRefused              the job table refused; every branch names the job or the key
│   ├── UnknownJob          no job has this id
│   ├── QueueFull           as many jobs wait as may wait; says when to come back
│   ├── KeyReused           an Idempotency-Key came again with another request
│   ├── JobOver             the job has ended and cannot be cancelled
│   ├── JobLost             somebody else has the job, or it ended meanwhile
│   └── JobLogUnavailable   where the job ran does not tell what it wrote
├── RequestRefused          a view refuses a request on purpose; carries the status and the places
├── ResponseMismatch        an answer breaks the schema that its view promised
├── AlreadyServing          a service uses the data folder; two would fight over it
├── AddressInUse            something listens on the port; names it
├── ModelRefused            training or prediction cannot do what was asked; every branch names the part at fault
│   ├── UnknownModel        no model, version or alias of this name; names those that exist
│   ├── UnknownDataset      no dataset has this id
│   ├── BadDataset          the table cannot be read or learned from; names the columns
│   ├── BadRows             rows to predict do not fit the model; names each place
│   ├── UploadTooLarge      an upload passes the limit
│   ├── BrokenModel         a published file is missing or was changed
│   └── UntrustedModel      a file names types that no model of ours holds
├── ServiceStopping         the service is being stopped and takes no jobs; says when to come back
├── ServiceError            a running service answered with a problem document
├── ServiceUnreachable      no service answered at the address
├── CircuitBreakerError     a call was refused: its circuit is open
├── CircuitConflict         the same circuit name was asked for with other options
├── CircuitUnknown          no circuit has that name
├── CertificateRefused      a certificate, its key or an authority cannot be used; names the file
├── NotPassedOn             a front refuses to pass a request on; carries the HTTP status
├── CertificateNotIssued    a certificate authority issued nothing; says why and when to come back
│   └── TermsNotAgreed      its terms of service were not agreed to; says where they stand
└── SharedStateLost         the store of a fleet's circuits did not answer
├── ChaosError              base of what a chaos experiment refuses or cannot do
│   ├── ChaosRefused        a guard refuses the experiment; nothing was touched
│   │   └── TargetBusy      another experiment runs on the target; names its process
│   ├── CapabilityMissing   this machine cannot do what the fault needs; names it
│   ├── FaultFailed         a fault could not be put in place
│   └── FaultRemains        a fault could not be taken back; carries what a person can type
└── DeliveryError           a rollout could not do what was asked
    ├── RolloutRefused      the request does not fit the rollout; nothing was touched
    │   └── RolloutActive   somebody else's rollout is under way; names holder and age
    ├── LeaseLost           somebody else took the rollout over
    ├── RolloutStuck        a person must look; traffic stays where it is
    ├── StartRefused        a version could not be started
    ├── CheckFailed         a smoke test did not hold
    ├── HookFailed          a hook beside a step failed
    ├── EvidenceMissing     no counters could be read
    ├── TrafficUnknown      the traffic layer does not say where requests go
    │   ├── ClusterUnreachable  the API server does not answer, or there is none
    │   └── ObjectMissing   an object of the cluster is not there
    ├── ClusterForbidden    the API server does not allow a request
    ├── ObjectRefused       the API server does not want a change of an object
    ├── TrafficChanged      the route was changed since it was read
    │   └── ObjectChanged   an object of the cluster was changed since it was read
    ├── TrafficRefused      the traffic layer refused a route
    ├── ProxyUnavailable    there is no proxy program that runs here
    ├── StateChanged        the record was changed since it was read
    ├── StateUnreadable     the record cannot be read
    └── StateUnwritable     the record cannot be stored; the old one stays

Each feature adds its branch here. Errors carry their facts as attributes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


class QuadraError(Exception):
    """Base of every error that the package raises on purpose."""


class InvalidValue(QuadraError, ValueError):
    """A value breaks a rule of its field."""

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(f"{field} is {value!r}; it must be {rule}")
        self.field, self.value, self.rule = field, value, rule


class AccessRefused(QuadraError):
    """A caller may not do what it asked for."""


class Unauthenticated(AccessRefused):
    """The caller shows no credential, or none that holds. Callers learn the same, whatever is wrong with it."""

    def __init__(self, reason: str) -> None:
        super().__init__("send a valid API key or bearer token")
        self.reason = reason
        """For the log; it holds nothing of the credential."""


class Forbidden(AccessRefused):
    """The caller is known and may not do this; another credential might."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


class TooManyRequests(AccessRefused):
    """The caller has used up a limit for now."""

    def __init__(self, limit: str, retry_after: float) -> None:
        super().__init__(f"the limit {limit!r} is reached; try again in {max(1, math.ceil(retry_after))} s")
        self.limit, self.retry_after = limit, retry_after


class AccessUndecided(AccessRefused):
    """Who calls, or how often, cannot be found out now; a later attempt may succeed."""

    def __init__(self, reason: str, retry_after: float = 5.0) -> None:
        super().__init__("who calls cannot be checked at the moment; try again later")
        self.reason, self.retry_after = reason, retry_after


class UnknownKey(QuadraError):
    """No API key has this id."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no API key has the id {key!r}; list them with: quadra keys list")
        self.key = key


class BrokenReferences(QuadraError):
    """A change of tables would leave rows that refer to nothing; it was rolled back."""

    def __init__(self, references: Sequence[str]) -> None:
        super().__init__(f"rows would refer to nothing, from {', '.join(references)}; the change was rolled back")
        self.references = tuple(references)


class UnknownRevision(QuadraError):
    """The database is at a revision that this version does not know."""

    def __init__(self, revision: str, newest: str) -> None:
        super().__init__(
            f"the database is at revision {revision}, this version knows up to {newest}; install the newer version"
        )
        self.revision, self.newest = revision, newest


class DatabaseUnavailable(QuadraError):
    """The database does not answer, or stays locked; a later attempt may succeed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the database is not available: {reason}")
        self.reason = reason


class TracesUnavailable(QuadraError):
    """The recent traces cannot be read or written; a later attempt may succeed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the recent traces are not available: {reason}")
        self.reason = reason


class TablesMissing(QuadraError):
    """The database lacks a table of ours: it was never upgraded, or by an older version."""

    def __init__(self) -> None:
        super().__init__("the database lacks tables; run: quadra db upgrade")


class BackupError(QuadraError):
    """A backup could not be made, read or restored."""


class BackupBusy(BackupError):
    """Another backup or restore works in the folder."""

    def __init__(self, work: Path) -> None:
        super().__init__(f"another backup or restore is under way; it works in {work}")
        self.work = work


class BackupMissing(BackupError):
    """The target has no backup of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no backup is named {name!r}; see: quadra db list")
        self.name = name


class BackupUnreadable(BackupError):
    """A backup is cut short, changed, or not one of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the backup cannot be used: {reason}")
        self.reason = reason


class FileChanged(BackupError):
    """A file that should never change did, while it was backed up."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"{file} changed while it was backed up; try again")
        self.file = file


class ProgramMissing(BackupError):
    """A program of the database is not installed."""

    def __init__(self, program: str, install: str) -> None:
        super().__init__(f"{program} is not installed; run: {install}")
        self.program, self.install = program, install


class ProgramFailed(BackupError):
    """A program of the database failed; ``reason`` is what it said."""

    def __init__(self, program: str, reason: str) -> None:
        super().__init__(f"{program} failed: {reason}")
        self.program, self.reason = program, reason


class RestoreRefused(BackupError):
    """A backup does not go into this destination."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"not restored: {reason}")
        self.reason = reason


class TargetUnavailable(BackupError):
    """Where backups are kept does not answer, or refuses."""

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(f"{target} cannot be used: {reason}")
        self.target, self.reason = target, reason


class RedisUnavailable(QuadraError):
    """Redis does not answer; a later attempt may succeed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"redis is not available: {reason}")
        self.reason = reason


class InvalidSettings(QuadraError):
    """Options of the service are refused. ``problems`` maps each variable to the rule it breaks."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{variable}: {rule}" for variable, rule in problems.items()))
        self.problems = dict(problems)


class MissingExtra(QuadraError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'quadra-matrix[{extra}]'")
        self.package, self.extra = package, extra


class JobRefused(QuadraError):
    """The job table refused."""


class UnknownJob(JobRefused):
    """No job has this id."""

    def __init__(self, job: str) -> None:
        super().__init__(f"no job has the id {job!r}")
        self.job = job


class QueueFull(JobRefused):
    """As many jobs wait as may wait."""

    def __init__(self, limit: int, retry_after: float) -> None:
        super().__init__(f"{limit} jobs wait already; try again in {retry_after:g} s")
        self.limit, self.retry_after = limit, retry_after


class KeyReused(JobRefused):
    """An Idempotency-Key came again with another request."""

    def __init__(self, key: str, job: str) -> None:
        super().__init__(f"the Idempotency-Key {key!r} already made job {job} from another request; use a new key")
        self.key, self.job = key, job


class JobOver(JobRefused):
    """The job has ended and cannot be cancelled."""

    def __init__(self, job: str, state: str) -> None:
        super().__init__(f"job {job} is {state} already and cannot be cancelled")
        self.job, self.state = job, state


class JobLost(JobRefused):
    """Somebody else has the job, or it ended meanwhile."""

    def __init__(self, job: str, state: str) -> None:
        super().__init__(f"job {job} is {state} and no longer ours to change")
        self.job, self.state = job, state


class JobLogUnavailable(JobRefused):
    """Where a job ran does not tell what it wrote."""

    def __init__(self, job: str, reason: str) -> None:
        super().__init__(f"the log of job {job} cannot be read: {reason}")
        self.job, self.reason = job, reason


class RequestRefused(QuadraError):
    """A view refuses a request on purpose; all that it carries is told to the caller.

    ``errors`` maps places (JSON Pointers as URI fragments, ``#/model``) to what is wrong with them.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        require(400 <= status <= 599, "status", status, "between 400 and 599")
        super().__init__(f"{status} {detail}")
        self.status, self.detail = status, detail
        self.errors, self.headers = dict(errors or {}), dict(headers or {})


class ResponseMismatch(QuadraError):
    """An answer breaks the schema that its view promised; ``errors`` are the places and what is wrong there."""

    def __init__(self, endpoint: str, errors: tuple[str, ...]) -> None:
        super().__init__(f"the answer of {endpoint} breaks its schema: {'; '.join(errors[:10])}")
        self.endpoint, self.errors = endpoint, errors


class ModelRefused(QuadraError):
    """Training or prediction cannot do what was asked."""


class UnknownModel(ModelRefused):
    """No model, version or alias of this name; ``existing`` holds those that are there."""

    def __init__(self, asked: str, existing: Iterable[str]) -> None:
        self.asked, self.existing = asked, tuple(existing)
        super().__init__(f"there is no {asked}; there is: {', '.join(self.existing) or 'nothing yet'}")


class UnknownDataset(ModelRefused):
    """No dataset has this id."""

    def __init__(self, dataset: str) -> None:
        super().__init__(f"no dataset has the id {dataset!r}")
        self.dataset = dataset


class BadDataset(ModelRefused):
    """The table cannot be read or learned from. ``columns`` maps each column at fault to what is wrong with it."""

    def __init__(self, reason: str, columns: Mapping[str, str] | None = None) -> None:
        self.reason, self.columns = reason, dict(columns or {})
        places = "; ".join(f"{name!r} {fault}" for name, fault in self.columns.items())
        super().__init__(f"{reason}: {places}" if places else reason)


class BadRows(ModelRefused):
    """Rows to predict do not fit the model. ``places`` maps the path of each fault to what is wrong there."""

    def __init__(self, places: Mapping[tuple[str | int, ...], str]) -> None:
        self.places = dict(places)
        super().__init__("; ".join(f"{_path(place)} {fault}" for place, fault in self.places.items()))


class UploadTooLarge(ModelRefused):
    """An upload passes the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the upload is larger than {limit} bytes")
        self.limit = limit


class BrokenModel(ModelRefused):
    """A published file is missing or was changed."""

    def __init__(self, model: str, version: int, fault: str) -> None:
        super().__init__(f"version {version} of model {model!r} cannot be served: {fault}")
        self.model, self.version, self.fault = model, version, fault


class UntrustedModel(ModelRefused):
    """A file names types that no model of ours holds; nothing of it was built."""

    def __init__(self, types: Iterable[str]) -> None:
        self.types = tuple(types)
        super().__init__(f"the file names types that are not trusted: {', '.join(self.types)}")


class AlreadyServing(QuadraError):
    """A service uses the data folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"a service uses {folder} already; stop it, or give this one another QUADRA_DATA_DIR")
        self.folder = folder


class AddressInUse(QuadraError):
    """Something listens on the port, or it cannot be listened on."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host}:{port} ({reason.lower()}); choose another port")
        self.host, self.port, self.reason = host, port, reason


class ServiceStopping(QuadraError):
    """The service is being stopped and takes no jobs."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the service is being stopped and takes no jobs; try again in {retry_after:g} s")
        self.retry_after = retry_after


class ServiceError(QuadraError):
    """A running service refused a request; ``problem`` is its problem document (RFC 9457)."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status} {problem.get('title', '')}: {problem.get('detail', '')}".strip(": "))
        self.status, self.problem = status, problem


class ServiceUnreachable(QuadraError):
    """No service answered at ``url``."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no service answers at {url} ({reason}); start one with: quadra serve")
        self.url, self.reason = url, reason


class CircuitBreakerError(QuadraError):
    """A call was refused because its circuit is not closed; the function did not run.

    ``args`` are the name, the state and the seconds to wait: an ``__init__`` of its own would double the cost of a
    refusal.
    """

    @property
    def name(self) -> str:
        """Return the name of the circuit."""
        name: str = self.args[0]
        return name

    @property
    def state(self) -> str:
        """Return the state that refused the call: ``open`` or ``half_open``."""
        state: str = self.args[1]
        return state

    @property
    def retry_after(self) -> float | None:
        """Return the seconds until a call may be admitted; None while an operator holds the circuit open."""
        seconds: float | None = self.args[2]
        return seconds

    @property
    def last_failure(self) -> BaseException | None:
        """Return the last failure that the circuit counted, which is also the cause."""
        return self.__cause__

    def __str__(self) -> str:
        wait = "until an operator closes it" if self.retry_after is None else f"for another {self.retry_after:.1f} s"
        return f"circuit {self.name!r} is {self.state.replace('_', '-')} {wait}"


class CircuitConflict(QuadraError):
    """A circuit was asked for by a name that is taken by one with other options."""

    def __init__(self, name: str, held: str, asked: str) -> None:
        super().__init__(f"circuit {name!r} exists with {held}; it was asked for with {asked}")
        self.name, self.held, self.asked = name, held, asked


class CircuitUnknown(QuadraError, LookupError):
    """No circuit has the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no circuit is named {name!r}; list them with: quadra breakers list")
        self.name = name


class SharedStateLost(QuadraError):
    """The store that a fleet's circuits share did not answer."""

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(f"the circuit store {store} does not answer ({reason})")
        self.store, self.reason = store, reason


class CertificateRefused(QuadraError):
    """A certificate, its key or an authority cannot be used."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


class NotPassedOn(QuadraError):
    """A front refuses to pass a request on; ``status`` is its answer's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class CertificateNotIssued(QuadraError):
    """A certificate authority issued nothing for ``domain``; ``retry_after`` are the seconds to wait, if it said so."""

    def __init__(self, domain: str, reason: str, retry_after: float | None = None) -> None:
        wait = "" if retry_after is None else f"; try again in {retry_after:.0f} s"
        super().__init__(f"no certificate for {domain}: {reason}{wait}")
        self.domain, self.reason, self.retry_after = domain, reason, retry_after


class TermsNotAgreed(CertificateNotIssued):
    """An account would be made, and nobody has agreed to the terms of service at ``terms``."""

    def __init__(self, domain: str, terms: str) -> None:
        super().__init__(domain, f"read the terms of service at {terms} and agree to them (agree_to_terms, --agree)")
        self.terms = terms


class ExperimentError(QuadraError):
    """Base of what A/B testing refuses; ``name`` is the experiment's."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class ExperimentConflict(ExperimentError):
    """Somebody else changed the experiment between our reading it and our writing it."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(
            name, f"experiment {name!r} already has a version {version}; read it again and repeat the change"
        )
        self.version = version


class ExperimentStateError(ExperimentError):
    """The experiment's status does not allow the move."""

    def __init__(self, name: str, status: str, move: str, allowed: tuple[str, ...]) -> None:
        super().__init__(name, f"cannot {move} experiment {name!r}: it is {status}, not {' or '.join(allowed)}")
        self.status, self.move, self.allowed = status, move, allowed


class UnknownExperiment(ExperimentError):
    """No experiment has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"no experiment is called {name!r}")


class EventsNotDurable(QuadraError):
    """Events could not be made durable in time. They wait in memory and are written when the log works again."""

    def __init__(self, waiting: int, reason: str) -> None:
        super().__init__(f"{waiting} events are not durable yet: {reason}")
        self.waiting, self.reason = waiting, reason


class AuditError(QuadraError):
    """An audit could not do what was asked."""


class PolicyUnreadable(AuditError):
    """The policy of an audit cannot be read."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"the policy {place} cannot be read: {reason}")
        self.place, self.reason = place, reason


class ScannerFailed(AuditError):
    """A scanner did not answer, or not for everything."""

    def __init__(self, scanner: str, reason: str) -> None:
        super().__init__(f"{scanner}: {reason}")
        self.scanner, self.reason = scanner, reason


class ChaosError(QuadraError):
    """A chaos experiment could not do what was asked."""


class ChaosRefused(ChaosError):
    """A guard refuses the experiment; nothing was touched."""

    def __init__(self, what: str, reason: str, way: str) -> None:
        super().__init__(f"{what} is refused: {reason}; {way}")
        self.what, self.reason, self.way = what, reason, way


class TargetBusy(ChaosRefused):
    """Another experiment runs on the target."""

    def __init__(self, target: str, holder: str) -> None:
        super().__init__(
            f"an experiment on {target}", f"{holder} runs one already", "wait for it, or: quadra chaos stop"
        )
        self.target, self.holder = target, holder


class CapabilityMissing(ChaosError):
    """This machine cannot do what a fault needs."""

    def __init__(self, fault: str, needs: str) -> None:
        super().__init__(f"{fault} needs {needs}; see: quadra chaos doctor")
        self.fault, self.needs = fault, needs


class FaultFailed(ChaosError):
    """A fault could not be put in place."""

    def __init__(self, fault: str, reason: str) -> None:
        super().__init__(f"{fault} could not be put in place: {reason}")
        self.fault, self.reason = fault, reason


class FaultRemains(ChaosError):
    """Faults may still be in place; ``commands`` are what a person can type."""

    def __init__(self, run: str, commands: Sequence[str]) -> None:
        super().__init__(f"faults of {run} may still be in place; undo them with: {'; '.join(commands)}")
        self.run, self.commands = run, tuple(commands)


class DeliveryError(QuadraError):
    """A rollout could not do what was asked."""


class RolloutRefused(DeliveryError):
    """The request does not fit the rollout; nothing was touched."""


class RolloutActive(RolloutRefused):
    """A rollout is under way, held by ``holder`` for ``age`` seconds."""

    def __init__(self, what: str, holder: str, age: float) -> None:
        advice = "continue it with resume or end it with rollback"
        super().__init__(f"{what} is under way, held by {holder} for {age:.0f} s; {advice}")
        self.what, self.holder, self.age = what, holder, age


class LeaseLost(DeliveryError):
    """Somebody else took the rollout over."""

    def __init__(self, holder: str, *, rolled_back: bool) -> None:
        super().__init__(f"the rollout was {'rolled back' if rolled_back else 'taken over'} by {holder}")
        self.holder, self.rolled_back = holder, rolled_back


class RolloutStuck(DeliveryError):
    """A person must look; traffic stays where it is."""


class StartRefused(DeliveryError):
    """A version could not be started."""

    def __init__(self, version: str, reason: str) -> None:
        super().__init__(f"{version} cannot be started: {reason}")
        self.version, self.reason = version, reason


class CheckFailed(DeliveryError):
    """A smoke test did not hold."""

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(f"{check}: {reason}")
        self.check, self.reason = check, reason


class HookFailed(DeliveryError):
    """A hook beside a step failed."""

    def __init__(self, hook: str, reason: str) -> None:
        super().__init__(f"{hook}: {reason}")
        self.hook, self.reason = hook, reason


class EvidenceMissing(DeliveryError):
    """No counters could be read."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"no counters from {source}: {reason}")
        self.source, self.reason = source, reason


class TrafficUnknown(DeliveryError):
    """The traffic layer does not say where requests go."""

    def __init__(self, layer: str, reason: str) -> None:
        super().__init__(f"{layer} does not say where requests go: {reason}")
        self.layer, self.reason = layer, reason


class ClusterUnreachable(TrafficUnknown):
    """The API server does not answer, or there is none."""

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(server, reason)


class ObjectMissing(TrafficUnknown):
    """An object of the cluster is not there."""

    def __init__(self, what: str, namespace: str) -> None:
        super().__init__(f"namespace {namespace}", f"there is no {what}; apply the manifests or name another namespace")
        self.what, self.namespace = what, namespace


class ClusterForbidden(DeliveryError):
    """The API server does not allow a request."""

    def __init__(self, verb: str, what: str, namespace: str, reason: str) -> None:
        super().__init__(f"{verb} {what} is not allowed in namespace {namespace}: {reason}")
        self.verb, self.what, self.namespace, self.reason = verb, what, namespace, reason


class ObjectRefused(DeliveryError):
    """The API server does not want a change of an object."""

    def __init__(self, what: str, status: int, reason: str) -> None:
        super().__init__(f"the change of {what} was refused with {status}: {reason}")
        self.what, self.status, self.reason = what, status, reason


class TrafficChanged(DeliveryError):
    """The route was changed since it was read."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"the route was changed: revision {found} is in force, not {expected}")
        self.expected, self.found = expected, found


class ObjectChanged(TrafficChanged):
    """An object of the cluster was changed since it was read."""

    def __init__(self, what: str) -> None:
        super().__init__(what, "another one")
        self.what = what


class TrafficRefused(DeliveryError):
    """The traffic layer refused a route; the old one stays."""

    def __init__(self, layer: str, reason: str) -> None:
        super().__init__(f"{layer} refused the route: {reason}")
        self.layer, self.reason = layer, reason


class ProxyUnavailable(DeliveryError):
    """There is no proxy program that runs here."""


class StateChanged(DeliveryError):
    """The record was changed since it was read."""

    def __init__(self, place: str) -> None:
        super().__init__(f"{place} was changed by somebody else")
        self.place = place


class StateUnreadable(DeliveryError):
    """The record cannot be read."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place} cannot be read: {reason}")
        self.place, self.reason = place, reason


class StateUnwritable(DeliveryError):
    """The record cannot be stored; the old one stays."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place} cannot be written: {reason}")
        self.place, self.reason = place, reason


def require(holds: bool, field: str, value: object, rule: str) -> None:
    """Raise ``InvalidValue`` naming the field, the value and the rule unless the rule holds."""
    if not holds:
        raise InvalidValue(field, value, rule)


def _path(place: tuple[str | int, ...]) -> str:
    """Return a path as people read it.

    >>> _path(("rows", 0, "age"))
    'rows[0].age'
    """
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
