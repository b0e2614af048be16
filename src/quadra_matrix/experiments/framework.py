"""A/B testing as one object: create experiments, assign variants, track conversions, read results."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import (
    DatabaseUnavailable,
    ExperimentConflict,
    InvalidValue,
    TablesMissing,
    UnknownExperiment,
    require,
)
from quadra_matrix.events import Hook, ignore
from quadra_matrix.events.experiments import ExperimentChanged, ExperimentDecided
from quadra_matrix.experiments.assign import split
from quadra_matrix.experiments.definition import CONVERSION, VALUE, AutoStop, Definition, Share, Status, is_number
from quadra_matrix.experiments.experiment import Experiment
from quadra_matrix.experiments.files import FileStore
from quadra_matrix.experiments.log import FLUSH_WITHIN, Conversion, EventLog
from quadra_matrix.experiments.ports import Store
from quadra_matrix.experiments.serve import Assignment, Kept, Rule, compile_serving, placer_of
from quadra_matrix.experiments.wire import created

if TYPE_CHECKING:
    from quadra_matrix.experiments.results import Decision, Results

log = logging.getLogger(__name__)

REFRESH_EVERY = 1.0
"""Seconds after which a process notices what another one changed."""

NOTHING: Mapping[str, Any] = {}


class _Live:
    """One experiment as this process serves it."""

    __slots__ = ("_arms", "_place", "covariate", "definition", "quiet", "rule")

    def __init__(self, definition: Definition, rule: Rule) -> None:
        self.definition, self.rule = definition, rule
        self.covariate = definition.covariate
        self.quiet = definition.status is not Status.DRAFT
        self._place, self._arms = placer_of(definition), split(definition.weights)

    def variant_of(self, unit: str) -> str:
        """Return the variant whose range holds a unit, whatever the rules say; empty where none does."""
        arm = self._arms.arm(self._place(unit))
        return "" if arm is None else self.definition.variants[arm].name


class ABTestingFramework:
    """Experiments below a folder, or in another store. May be shared between threads, and used after a fork."""

    def __init__(
        self,
        storage_path: str | Path = "experiments",
        *,
        store: Store | None = None,
        clock: Clock = SYSTEM_CLOCK,
        hook: Hook = ignore,
        refresh_every: float = REFRESH_EVERY,
    ) -> None:
        self._store: Store = store or FileStore(Path(storage_path), clock=clock)
        self._clock, self._hook, self._refresh_every = clock, hook, refresh_every
        self._log = EventLog(self._store.sink(), clock=clock, hook=hook)
        self._live: dict[str, _Live] = {}
        self._position = 0
        self._lock = threading.Lock()
        self._announced: set[tuple[str, str, str | None]] = set()
        self._now = clock.now
        self._check_at = clock.now() + refresh_every
        try:
            self.refresh()
        except (DatabaseUnavailable, TablesMissing) as away:
            log.warning("no experiment is known yet: %s", away)  # the next refresh that succeeds brings them

    def create_experiment(
        self,
        name: str,
        variants: Sequence[Mapping[str, Any]],
        targeting_rules: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Experiment:
        """Create a draft; ``options`` are the other fields of ``Definition``, as JSON would hold them.

        Raises ``InvalidValue`` naming the field, also when the name is taken or the layer's range is not free.
        """
        return self.create({"name": name, "variants": variants, "targeting_rules": targeting_rules or {}, **options})

    def create(self, fields: Mapping[str, Any]) -> Experiment:
        """Create a draft from JSON fields."""
        draft = created(fields)
        self.refresh()
        require(draft.name not in self._live, "name", draft.name, "new: an experiment with this name exists")
        if draft.layer is not None:
            self._require_free(draft.layer)
        return self._record(draft)

    def experiment(self, name: str) -> Experiment:
        """Return the handle of an experiment; raise ``UnknownExperiment``."""
        self.definition(name)
        return Experiment(self, name)

    def experiments(self) -> list[Experiment]:
        """Return every experiment, sorted by name."""
        self.refresh()
        return [Experiment(self, name) for name in sorted(self._live)]

    def definition(self, name: str) -> Definition:
        """Return the latest version of an experiment that this process knows."""
        return self._serving(name).definition

    def find(self, name: str) -> Definition | None:
        """Return the latest version of an experiment that this process knows, or None; costs a look into a table."""
        now = self._now()
        if now >= self._check_at:
            self._refresh_soon(now)
        live = self._live.get(name)
        return None if live is None else live.definition

    def get_variant(
        self, experiment_name: str, user_id: str, attributes: Mapping[str, Any] | None = None
    ) -> Assignment:
        """Return what a user gets, and count the exposure. Never waits for a disk.

        A user who is not in the experiment gets the control's config, and ``in_experiment`` is false.
        """
        now = self._now()
        if now >= self._check_at:
            self._refresh_soon(now)
        live = self._live.get(experiment_name) or self._serving(experiment_name)
        served = live.rule(user_id, attributes or NOTHING)
        if served.cell is not None:
            covariate = None if live.covariate is None else _number_or_none(attributes, live.covariate)
            self._log.expose((now, served.cell, user_id, covariate))
        elif not live.quiet:
            live.quiet = True
            log.warning("experiment %r is a draft: everybody gets the control until it starts", experiment_name)
        return served.answer()

    def track_conversion(
        self,
        experiment_name: str,
        variant_name: str | None = None,
        value: float | None = None,
        custom_metrics: Mapping[str, float] | None = None,
        *,
        user_id: str | None = None,
        event_id: str | None = None,
    ) -> None:
        """Record that somebody converted. Give the user: only then can repeated conversions count as one user's.

        A repeated ``event_id`` counts once. Returns before the event is durable; call ``flush`` to wait for that.
        """
        values: dict[str, float] = dict(custom_metrics or {})
        for reserved in (CONVERSION, VALUE):
            require(reserved not in values, "custom_metrics", reserved, "another name: this one is built in")
        if value is not None:
            require(is_number(value), "value", value, "a finite number")
        self._track(experiment_name, variant_name, {CONVERSION: value, **values}, user_id, event_id)

    def track_metrics(
        self,
        experiment_name: str,
        metrics: Mapping[str, float],
        variant_name: str | None = None,
        *,
        user_id: str | None = None,
        event_id: str | None = None,
    ) -> None:
        """Record values of custom metrics without a conversion, such as a latency that a guardrail watches."""
        for reserved in (CONVERSION, VALUE):
            require(reserved not in metrics, "metrics", reserved, "another name: call track_conversion")
        self._track(experiment_name, variant_name, dict(metrics), user_id, event_id)

    def get_experiment_results(self, experiment_name: str) -> dict[str, Any]:
        """Return the results as JSON-ready values; everything tracked before by this process is included."""
        return self.analyse(experiment_name).to_json()

    def check(self) -> dict[str, Decision]:
        """Analyse every running experiment and do what its ``auto_stop`` says; call it every few minutes.

        Returns the decisions. Each is announced once by a process. It is a function of the log: the same events give
        the same decision to whoever looks.
        """
        found: dict[str, Decision] = {}
        for experiment in self.experiments():
            definition = experiment.definition
            if definition.status is not Status.RUNNING or definition.auto_stop is AutoStop.OFF:
                continue
            decision = found[definition.name] = self.analyse(definition.name).decision
            if (definition.name, str(decision.verdict), decision.variant) not in self._announced:
                self._announce(definition, decision)
            if decision.ends and definition.auto_stop is AutoStop.STOP:
                experiment.complete(winner=decision.variant, reason=f"{decision.verdict}: {decision.reason}")
        return found

    def _announce(self, definition: Definition, decision: Decision) -> None:
        """Tell the hook about a decision that stands for the first time."""
        if str(decision.verdict) != "undecided":
            self._announced.add((definition.name, str(decision.verdict), decision.variant))
            self._hook(ExperimentDecided(definition.name, decision.verdict, decision.variant, decision.reason))

    def flush(self, within: float = FLUSH_WITHIN) -> None:
        """Return once everything tracked before is durable; raise ``EventsNotDurable`` after ``within`` seconds."""
        self._log.flush(within)

    def close(self) -> None:
        """Flush and release the log; the framework can still be used afterwards."""
        self._log.close()

    def refresh(self) -> None:
        """Learn what other processes changed."""
        with self._lock:
            changes = self._store.changes(self._position)
            latest = {definition.name: definition for definition in changes.definitions}
            for definition in latest.values():
                self._live[definition.name] = _Live(definition, compile_serving(definition, self._kept(definition)))
            self._position = changes.position

    @property
    def store(self) -> Store:
        """Where the experiments are kept."""
        return self._store

    @property
    def log(self) -> EventLog:
        """The queue of events: how many wait, and whether writing fails."""
        return self._log

    def change(self, name: str, move: Callable[[Definition, float], Definition]) -> Definition:
        """Apply a move of the life cycle; a race with another process is repeated on what that one left."""
        while True:
            self.refresh()
            try:
                return self._record(move(self.definition(name), self._now())).definition
            except ExperimentConflict as raced:
                log.info("%s; trying again", raced)

    def analyse(self, name: str) -> Results:
        """Count and judge what was tracked so far; everything this process tracked before is included."""
        from quadra_matrix.experiments.analysis import analyse

        self.flush()
        self.refresh()
        return analyse(self.definition(name), self._store.warehouse(), self._now())

    def _record(self, definition: Definition) -> Experiment:
        """Keep a version, serve it and announce it."""
        self._store.record(definition)
        self.refresh()
        self._hook(ExperimentChanged(definition.name, definition.status, definition.version, definition.reason))
        return Experiment(self, definition.name)

    def _serving(self, name: str) -> _Live:
        """Return what is served under a name."""
        live = self._live.get(name)
        if live is None:
            raise UnknownExperiment(name)
        return live

    def _refresh_soon(self, now: float) -> None:
        """Look for changes on a thread of its own: a request never waits for the store."""
        self._check_at = now + self._refresh_every
        threading.Thread(target=self._refresh_quietly, name="experiment-refresh", daemon=True).start()

    def _refresh_quietly(self) -> None:
        """Refresh; what fails is said in the log, and the versions known so far go on being served."""
        try:
            self.refresh()
        except Exception:  # the edge of a thread: a store that is away for a moment must not end serving
            log.exception("experiments could not be refreshed")

    def _kept(self, definition: Definition) -> Kept:
        """Return the places of units that an earlier phase exposed and that new weights would move."""
        phase = definition.phase
        if phase is None or phase.number == 1 or definition.status is not Status.RUNNING:
            return {}
        from quadra_matrix.experiments.aggregate import MICRO, exposed_sql

        rows = self._store.warehouse()
        place, arms = placer_of(definition), split(definition.weights)
        names = [variant.name for variant in definition.variants]
        kept: dict[bytes, str] = {}
        for unit, variant in rows.rows(exposed_sql(definition.name, int(phase.started_at * MICRO), rows.relations)):
            where = place(unit)
            arm = arms.arm(where)
            if arm is None or names[arm] != variant:
                kept[where] = variant
        return kept

    def _require_free(self, layer: Share) -> None:
        """Refuse a range of a layer that an experiment which has not ended uses."""
        for live in self._live.values():
            other = live.definition
            if other.layer is not None and other.status is not Status.COMPLETED and other.layer.overlaps(layer):
                taken = (other.layer.start, other.layer.end)
                raise InvalidValue("layer", (layer.start, layer.end), f"outside {taken}, which {other.name!r} uses")

    def _track(
        self,
        name: str,
        variant: str | None,
        values: Mapping[str, float | None],
        unit: str | None,
        event_id: str | None,
    ) -> None:
        """Append the values of one event."""
        live = self._serving(name)
        definition = live.definition
        require(variant is not None or unit is not None, "user_id", unit, "given where variant_name is not")
        if variant is not None:
            definition.variant(variant)
        for metric, value in values.items():
            fine = isinstance(metric, str) and metric.isprintable() and metric != ""
            require(fine, "custom_metrics", metric, "named by printable text")
            require(value is None or is_number(value), f"custom_metrics.{metric}", value, "a finite number")
        if definition.status in {Status.DRAFT, Status.COMPLETED}:
            return
        arm = variant or live.variant_of(unit or "")
        at, phase, which = self._now(), len(definition.phases), event_id or os.urandom(12).hex()
        self._log.convert(
            [Conversion(at, which, name, phase, arm, unit, metric, value) for metric, value in values.items()]
        )


def _number_or_none(attributes: Mapping[str, Any] | None, name: str) -> float | None:
    """Return an attribute as a number, or None where it is not one."""
    value = (attributes or NOTHING).get(name)
    return float(value) if value is not None and is_number(value) else None
