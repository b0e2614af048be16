"""Ends the experiments that are decided, as each asked for: a thread of the runner's process, one a service."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.events import Hook, fan_out, ignore
from quadra_matrix.experiments import ABTestingFramework
from quadra_matrix.service.experiments import ChangesFile, DatabaseStore, close
from quadra_matrix.service.models.experiments import ModelExperiments
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.experiments import SqlExperiments
from quadra_matrix.storage.sql.models import SqlModels

log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two looks. A decision depends on the recorded events alone, so looking more often adds nothing."""


def experiments_of(
    settings: Settings, database: Database, registry: Registry, clock: Clock = SYSTEM_CLOCK, hook: Hook = ignore
) -> tuple[ABTestingFramework, ModelExperiments]:
    """Return the experiments in the service's database, and those that stand behind aliases of the registry."""
    # The framework tells the trials what changed, and they ask the framework: one of them has to come first.
    noted = ChangesFile(settings.run_dir / "experiments")
    store = DatabaseStore(SqlExperiments(database), noted)
    framework = ABTestingFramework(store=store, clock=clock, hook=fan_out(hook, lambda event: trials.hear(event)))
    trials = ModelExperiments(framework, registry, noted.size)
    return framework, trials


@contextlib.contextmanager
def deciding(
    settings: Settings,
    database: Database,
    clock: Clock = SYSTEM_CLOCK,
    every: float = EVERY,
    hook: Hook = ignore,
) -> Iterator[None]:
    """Look at every running experiment all ``every`` seconds until the block ends."""
    registry = Registry(SqlModels(database), settings.models_dir, clock=clock, hook=hook)
    framework, _ = experiments_of(settings, database, registry, clock, hook)
    stop = threading.Event()
    thread = threading.Thread(target=_look, args=(framework, stop, every), name="deciding", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(every)
        close(framework)


def _look(framework: ABTestingFramework, stop: threading.Event, every: float) -> None:
    """Look until stopped; a failed look is logged, because a database that is away must not end all later ones."""
    while not stop.wait(every):
        try:
            framework.refresh()
            framework.check()
        except Exception:  # the edge of the thread
            log.exception("the experiments could not be looked at; the next look is in %g s", every)
