"""Run an experiment: baseline, inject, check the dose, hold, lift, confirm at the source, recovery, verdict."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from quadra_matrix.chaos import guard
from quadra_matrix.chaos.dose import Delivery, Dose
from quadra_matrix.chaos.faults.port import Armed, Scene
from quadra_matrix.chaos.guard import Allowed
from quadra_matrix.chaos.interrupt import Interrupt
from quadra_matrix.chaos.journal import Journal
from quadra_matrix.chaos.lease import Lease
from quadra_matrix.chaos.mend import mend_abandoned
from quadra_matrix.chaos.model import Experiment, Phase, Stop
from quadra_matrix.chaos.outcome import Outcome, Times, Verdict, verdict_of
from quadra_matrix.chaos.probe import Probe, Prober, probe_of
from quadra_matrix.chaos.recovery import Baseline, Judged, baseline_of, compare, impact, recovered
from quadra_matrix.chaos.samples import Sample, errors_of, seconds_of
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import CapabilityMissing, ChaosError, ChaosRefused, FaultRemains
from quadra_matrix.events import Event, Hook, ignore
from quadra_matrix.events.chaos import ChaosJudged, ChaosPhaseBegan, FaultInjected, FaultLifted

log = logging.getLogger(__name__)

TICK = 0.02
"""Seconds between two looks at signals, stop conditions and the time."""
LOOK = 0.5
"""Seconds between two judgements of the recovery."""
EARLY = 0.25
"""Part of the hold after which a fault that did not arrive at all ends the run."""
DIRECT = 50
"""Probes past the proxy that tell what it adds by itself."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run is given besides its experiment."""

    folder: Path
    """Where the journal is; all runs of a machine share it."""
    hook: Hook = ignore
    interrupt: Interrupt = field(default_factory=Interrupt)
    allowed: Allowed = field(default_factory=Allowed)
    probe: Probe | None = None
    """Asks the target in place of a request to its address."""
    clock: Clock = SYSTEM_CLOCK


class Over(Exception):
    """The run ends here with a verdict."""

    def __init__(self, verdict: Verdict, because: str) -> None:
        super().__init__(because)
        self.verdict, self.because = verdict, because


def run(experiment: Experiment, around: Surroundings) -> Outcome:
    """Run one experiment and return how it ended. Whatever ends it, its faults are taken back first.

    Blocks for baseline, hold and recovery. Raises nothing on purpose: what goes wrong is in the outcome.
    """
    return Run(experiment, around).outcome()


class Run:
    """One run. For one thread."""

    def __init__(self, experiment: Experiment, around: Surroundings) -> None:
        self._plan, self._around, self._clock = experiment, around, around.clock
        self._started = self._clock.now()
        stamp = int(1000 * self._started)
        self.name = f"{stamp:x}-{''.join(c if c.isalnum() else '-' for c in experiment.name.lower())[:40]}"
        self._baseline: Baseline | None = None
        self._doses: tuple[Dose, ...] = ()
        self._tolerance: Judged | None = None
        self._times = Times()
        self._overhead: float | None = None
        self._notes: list[str] = []

    def outcome(self) -> Outcome:
        """Run, and return how it ended."""
        begun = self._clock.monotonic()
        try:
            verdict, because = self._guarded()
        except Over as over:
            verdict, because = over.verdict, over.because
        except ChaosRefused as refused:
            verdict, because = Verdict.REFUSED, str(refused)
        except CapabilityMissing as missing:
            verdict, because = Verdict.SKIPPED, str(missing)
        except FaultRemains as remains:
            verdict, because = Verdict.REMAINS, str(remains)
        except ChaosError as failed:
            verdict, because = Verdict.INVALID, str(failed)
        self._tell(ChaosJudged(self._plan.name, self.name, verdict.value, because))
        return Outcome(
            self._plan.name,
            self.name,
            verdict,
            because,
            self._started,
            self._clock.monotonic() - begun,
            self._doses,
            self._tolerance,
            self._times,
            self._overhead,
            self._plan.seed,
            tuple(self._notes),
        )

    def _guarded(self) -> tuple[Verdict, str]:
        """Run if nothing speaks against it."""
        guard.check(self._plan.target, self._around.allowed)
        journal = Journal(self._around.folder)
        with journal.locked(self._plan.target.address), self._scratch() as folder:
            for mended in mend_abandoned(journal, self._clock):
                self._notes.append(f"took back what run {mended} had left")
            target = self._plan.target
            scene = Scene(target.address, target.pid, self._plan.lease, self._plan.seed, (), folder, self._clock)
            for fault in self._plan.faults:
                if (missing := fault.lacks(scene)) is not None:
                    raise CapabilityMissing(fault.fault, missing)
            with ExitStack() as closing:
                lease = closing.enter_context(
                    Lease(journal, self.name, target.url, seconds=self._plan.lease, clock=self._clock)
                )
                armed, scene = self._arm(replace(scene, private=lease.private), lease, closing)
                return self._watched(armed, lease, scene.address)

    def _arm(self, scene: Scene, lease: Lease, closing: ExitStack) -> tuple[list[Armed], Scene]:
        """Get every fault ready and put its undo into the janitor's hands; nothing is harmed yet."""
        ready = []
        for fault in self._plan.faults:
            armed = fault.arm(scene)
            closing.callback(armed.close)
            lease.hold(armed.undo, armed.renew)
            ready.append(armed)
            if armed.address is not None:
                scene = replace(scene, address=armed.address)
        # Entered last, left first: the faults are gone before anything they need is closed.
        closing.callback(_take_back, ready, lease)
        return ready, scene

    def _watched(self, armed: list[Armed], lease: Lease, address: str) -> tuple[Verdict, str]:
        """Run with probes all the time."""
        probe = self._around.probe or self._probe(address)
        with Prober(probe, self._plan.probing, self._clock) as prober:
            self._enter(Phase.BASELINE)
            baseline = self._steady(prober)
            if address != self._plan.target.address:
                self._overhead = self._cost_of_proxy(prober)
            self._enter(Phase.INJECT)
            injected = prober.elapsed()
            for fault, one in zip(self._plan.faults, armed, strict=True):
                one.inject()
                self._tell(FaultInjected(self._plan.name, self.name, fault.fault))
            self._enter(Phase.HOLD)
            stopped = self._hold(prober, armed, lease, injected)
            lifted = self._lift(prober, armed, lease)
            if stopped is None:
                self._enter(Phase.RECOVERY)
                self._recover(prober, baseline, lifted)
            self._judge_hold(baseline, prober.seen(injected, lifted), injected)
            if stopped is not None:
                raise stopped
        assert self._tolerance is not None
        return verdict_of(self._plan.expect, self._doses, self._tolerance, self._times.to_recover, self._plan.rto)

    def _steady(self, prober: Prober) -> Baseline:
        """Watch the service as it is, and refuse to harm one that is not steady."""
        probing = self._plan.probing
        deadline = prober.elapsed() + 2 * probing.samples / probing.rate + probing.timeout
        while len(prober.seen()) < probing.samples and prober.elapsed() < deadline:
            self._wait()
        samples = prober.seen()
        errors, baseline = errors_of(samples), baseline_of(samples)
        if errors.rate is None or errors.rate > self._plan.steady or baseline is None:
            because = f"{errors.events} of {errors.total} probes failed before any fault"
            raise Over(Verdict.NOT_STEADY, because)
        self._baseline = baseline
        return baseline

    def _cost_of_proxy(self, prober: Prober) -> float:
        """Return what a proxy that disturbs nothing adds to the median answer, in seconds."""
        direct, ask = [], self._probe(self._plan.target.address)
        first = prober.elapsed()
        for _ in range(DIRECT):
            self._wait()
            asked = self._clock.monotonic()
            ask(self._plan.probing.timeout)
            direct.append(self._clock.monotonic() - asked)
        through = seconds_of(prober.seen(first)) or seconds_of(prober.seen())
        return median(through) - median(direct)

    def _hold(self, prober: Prober, armed: list[Armed], lease: Lease, injected: float) -> Over | None:
        """Keep the faults in place for their time; return why that was cut short."""
        assert self._baseline is not None
        end = injected + self._plan.hold
        early = injected + max(EARLY * self._plan.hold, 1.0)
        while (now := prober.elapsed()) < end:
            if self._around.interrupt.is_asked:
                return self._interrupted()
            if lease.is_expired:
                return Over(Verdict.INVALID, "this process was silent for longer than the lease; the janitor lifted")
            window = prober.seen(max(injected, now - self._plan.stop.window), now)
            if (because := must_stop(self._plan.stop, window)) is not None:
                self._measure(prober, armed, injected)
                return Over(Verdict.STOPPED, f"lifted at once: {because}")
            if now > early:
                early = end
                doses = self._measure(prober, armed, injected)
                if any(_is_absent(dose) for dose in doses):
                    return Over(Verdict.INVALID, "; ".join(str(dose) for dose in doses))
            self._clock.sleep(TICK)
        self._measure(prober, armed, injected)
        return None

    def _measure(self, prober: Prober, armed: list[Armed], injected: float) -> tuple[Dose, ...]:
        """Measure what arrived, while it is still in place."""
        before, during = prober.seen(0.0, injected), prober.seen(injected)
        self._doses = tuple(one.dose(before, during) for one in armed)
        return self._doses

    def _lift(self, prober: Prober, armed: list[Armed], lease: Lease) -> float:
        """Take the faults back, read at the source that they are gone, and return when that was."""
        self._enter(Phase.LIFT)
        _take_back(armed, lease)
        for fault in self._plan.faults:
            self._tell(FaultLifted(self._plan.name, self.name, fault.fault))
        return prober.elapsed()

    def _judge_hold(self, baseline: Baseline, during: list[Sample], injected: float) -> None:
        """Say what the faults did to the service."""
        margins, window = self._plan.margins, self._plan.probing.samples
        self._tolerance = compare(baseline, during, margins)
        harmed = impact(baseline, during, margins, since=injected)
        if harmed is None:
            return
        after = [sample for sample in during if sample.at - injected > harmed.high]
        eased = recovered(baseline, after, margins, window=window, since=injected)
        self._times = replace(self._times, to_impact=harmed, to_mitigation=eased)

    def _recover(self, prober: Prober, baseline: Baseline, lifted: float) -> None:
        """Watch until the service is as before, or its time and a whole window are over."""
        probing, margins = self._plan.probing, self._plan.margins
        deadline = lifted + self._plan.rto + probing.samples / probing.rate + probing.timeout
        found = None
        while found is None and prober.elapsed() < deadline:
            for _ in range(round(LOOK / TICK)):
                self._wait()
            found = recovered(baseline, prober.seen(lifted), margins, window=probing.samples, since=lifted)
        if found is not None:
            self._times = replace(self._times, to_recover=found)

    def _wait(self) -> None:
        """Let a tick pass; end the run where it was asked to."""
        if self._around.interrupt.is_asked:
            raise self._interrupted()
        self._clock.sleep(TICK)

    def _interrupted(self) -> Over:
        """Return the ending of a run that was asked to end."""
        number = self._around.interrupt.signal
        verdict = Verdict.INTERRUPTED if number == 2 else Verdict.TERMINATED
        return Over(verdict, f"signal {number}; every fault was taken back")

    def _probe(self, address: str) -> Probe:
        return probe_of(self._plan.target.url, address=address, verify=self._plan.probing.verify)

    def _enter(self, phase: Phase) -> None:
        self._tell(ChaosPhaseBegan(self._plan.name, self.name, phase.value))

    def _tell(self, event: Event) -> None:
        self._around.hook(event)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Yield a folder for sockets; its path is short, because theirs may have only 107 characters."""
        folder = Path(tempfile.mkdtemp(prefix="quadra-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def must_stop(stop: Stop, window: list[Sample]) -> str | None:
    """Return which stop condition the last samples meet; None while they may go on."""
    if len(window) < 5:
        return None
    rate, times = errors_of(window).rate or 0.0, seconds_of(window)
    if stop.error_rate is not None and rate > stop.error_rate:
        return f"{100 * rate:.0f} % of probes failed over {stop.window:g} s"
    if stop.seconds is not None and times and median(times) > stop.seconds:
        return f"the median answer took {median(times):.3g} s over {stop.window:g} s"
    return None


def _take_back(armed: list[Armed], lease: Lease) -> None:
    """Take faults back from within, then from outside; the last one first. Harmless when they are gone already."""
    while armed:
        armed.pop().lift()
    lease.lift()


def _is_absent(dose: Dose) -> bool:
    """Tell whether a fault did not arrive at all, as far as can be said early."""
    return dose.delivery is Delivery.UNDER and (dose.high or dose.delivered or 0.0) < dose.asked / 2
