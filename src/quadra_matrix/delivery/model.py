"""How far a rollout is, what was seen, what is found, and what to do next: frozen values between the parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from quadra_matrix.delivery.counters import Counters, Reading
from quadra_matrix.delivery.plan import Plan, When
from quadra_matrix.errors import require
from quadra_matrix.stats.arms import NONE_YET, Counts
from quadra_matrix.stats.evidence import Evidence
from quadra_matrix.stats.risk import RiskEvidence


class Kind(StrEnum):
    """How traffic moves."""

    CANARY = "canary"
    BLUE_GREEN = "blue-green"


class Phase(StrEnum):
    """Where a rollout is. Each phase does one thing that may be repeated safely."""

    START = "start"
    CHECK = "check"
    BASELINE = "baseline"
    BEFORE = "before"
    SHIFT = "shift"
    WATCH = "watch"
    AFTER = "after"
    OFFER = "offer"
    PROMOTE = "promote"
    SETTLE = "settle"
    LIVE = "live"
    DRAIN = "drain"
    STOP = "stop"
    DONE = "done"
    HOLD = "hold"
    HELD = "held"
    RETREAT = "retreat"
    DRAIN_BACK = "drain-back"
    STOP_BACK = "stop-back"
    ROLLED_BACK = "rolled-back"


BACKWARD = frozenset({Phase.RETREAT, Phase.DRAIN_BACK, Phase.STOP_BACK, Phase.ROLLED_BACK})
"""Phases of a rollback. None of them leads out of this set."""
AT_REST = frozenset({Phase.DONE, Phase.ROLLED_BACK, Phase.HELD, Phase.LIVE, Phase.OFFER})
"""Phases in which nothing happens until a person asks for something: see ``Progress.rests``."""
ENDED = frozenset({Phase.DONE, Phase.ROLLED_BACK})
"""Phases in which a new rollout may begin."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests go: percent by version, always 100 in sum; never 0/0."""

    weights: dict[str, float]
    mirror_to: str | None = None
    """Version that gets copies of requests; its answers are dropped."""
    mirror: float = 0.0
    """Percent of requests that are copied."""
    sticky_cookie: str | None = None
    sticky_header: str | None = None

    def __post_init__(self) -> None:
        lowest, total = min(self.weights.values(), default=0.0), sum(self.weights.values())
        require(lowest >= 0, "weights", self.weights, "0 or more each")
        require(abs(total - 100) < 1e-6, "weights", self.weights, "100 (percent) in sum")

    def share(self, version: str) -> float:
        """Return the percent that a version gets."""
        return self.weights.get(version, 0.0)


@dataclass(frozen=True, slots=True)
class Routed:
    """The route as the traffic layer reports it, and the revision that a change must name."""

    route: Route
    revision: str
    is_complete: bool = True
    """False while the platform still brings up what the route that was written needs: write it again."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """How many instances of a version answer, of how many that should."""

    ready: int = 0
    wanted: int = 0
    restarts: int = 0
    """Times an instance had to be started again since the version was started."""
    addresses: tuple[str, ...] = ()
    """Base addresses of ready instances, past the proxy."""
    trouble: str = ""
    """Why not all of them answer, where the platform says it."""

    @property
    def is_full(self) -> bool:
        """Whether there are instances and all of them answer."""
        return 0 < self.wanted <= self.ready


class Finding(StrEnum):
    """What a comparison says."""

    NOT_WORSE = "not worse"
    WORSE = "worse"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """What is found about one metric, with the numbers that made it."""

    metric: str
    finding: Finding
    because: str
    stable: Counts
    candidate: Counts
    stable_rate: tuple[float, float]
    """Interval of stable's rate that holds at every look."""
    candidate_rate: tuple[float, float]
    e_worse: float
    """Evidence that the candidate is worse; enough at ``needed``."""
    e_better: float
    """Evidence that the candidate is below the ratio that would matter; enough at ``needed_to_pass``."""
    needed: float
    needed_to_pass: float
    dispersion: float
    """How much more than by chance stable's bad events vary from tick to tick."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is found about the candidate."""

    finding: Finding = Finding.UNDECIDED
    metrics: tuple[MetricVerdict, ...] = ()

    @property
    def because(self) -> str:
        """The sentences of the metrics that made the finding."""
        return "; ".join(one.because for one in self.metrics if one.finding is self.finding) or "no requests were seen"


@dataclass(frozen=True, slots=True)
class Tally:
    """What the judge remembers of one metric between two looks."""

    metric: str
    worse: RiskEvidence
    """That the candidate was worse from the beginning."""
    late: RiskEvidence
    """That it became worse later, every start weighted."""
    better: RiskEvidence
    ticks: int = 0
    against: Evidence = field(default_factory=Evidence)
    """The first two together."""
    stable: Counts = NONE_YET
    candidate: Counts = NONE_YET
    step_stable: Counts = NONE_YET
    """Since the share last changed; sums over different shares would mix up time and version."""
    step_candidate: Counts = NONE_YET
    history: tuple[Counts, ...] = ()
    """Stable's last ticks."""
    bound: float | None = None
    """Latency above which a request of stable counts as slow, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the judge remembers between two looks."""

    tallies: tuple[Tally, ...] = ()
    total: Counters = field(default_factory=Counters)
    """Everything stable counted since the rollout began: its latency quantile is read from here."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What people asked for from outside; the rollout takes notice at its next look."""

    paused: bool = False
    approved: int = -1
    """Last step whose end a person approved."""
    promote: bool = False
    share: float | None = None
    """Percent set by hand; the rollout stays paused there."""
    finish: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rollout is. Everything that a new process needs to go on is here."""

    stable: str
    candidate: str
    phase: Phase = Phase.START
    step: int = 0
    phase_time: float = 0.0
    """Seconds spent in this phase while somebody watched."""
    tick_time: float = 0.0
    """Seconds since the counters were last compared."""
    asked: Route | None = None
    """The last route that was written."""
    sent: Route | None = None
    """What the traffic layer reported after that; anything else later is somebody else's change."""
    orders: Orders = field(default_factory=Orders)
    memory: Memory = field(default_factory=Memory)
    seen: dict[str, Reading] = field(default_factory=dict)
    """The last recorded raw counters by version."""
    verdict: Verdict = field(default_factory=Verdict)
    because: str = ""
    """Why the rollout turned, in a sentence."""

    @property
    def rests(self) -> bool:
        """Whether nothing happens until a person asks for something."""
        if self.phase in (Phase.OFFER, Phase.HELD):
            return not self.orders.promote
        if self.phase is Phase.LIVE:
            return not self.orders.finish
        return self.phase in ENDED


@dataclass(frozen=True, slots=True)
class Observation:
    """What is so at one instant."""

    route: Route
    stable: Readiness = field(default_factory=Readiness)
    candidate: Readiness = field(default_factory=Readiness)
    readings: dict[str, Reading] = field(default_factory=dict)
    open_requests: dict[str, int] = field(default_factory=dict)
    elapsed: float = 0.0
    """Seconds since the last recorded look of this process."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again after a while."""

    because: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave everything as it is and tell a person."""

    because: str


@dataclass(frozen=True, slots=True)
class Start:
    """Start a version, or what is missing of it."""

    version: str


@dataclass(frozen=True, slots=True)
class RunChecks:
    """Send the smoke tests straight to a version."""

    version: str


@dataclass(frozen=True, slots=True)
class RunHooks:
    """Run the user's hooks of one side of a step."""

    step: int
    when: When


@dataclass(frozen=True, slots=True)
class Send:
    """Write a route."""

    route: Route


@dataclass(frozen=True, slots=True)
class Settle:
    """Make a version what the platform calls the stable one."""

    version: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a version that gets no requests."""

    version: str


Action = Wait | GiveUp | Start | RunChecks | RunHooks | Send | Settle | Stop


@dataclass(frozen=True, slots=True)
class Move:
    """Do ``action``, then record ``then``; if the action is refused for good, record ``otherwise``.

    An action that the platform has begun and not done yet records ``meanwhile``, and is decided again.
    """

    action: Action
    then: Progress
    otherwise: Progress | None = None
    meanwhile: Progress | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rollout from its start to its end."""

    name: str
    kind: Kind
    plan: Plan
    progress: Progress
    started: float
    """Seconds since the epoch."""
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Who moves the rollout on, until when unless renewed."""

    holder: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Past:
    """A line of the history."""

    name: str
    kind: Kind
    stable: str
    candidate: str
    outcome: Phase
    because: str
    started: float
    ended: float


@dataclass(frozen=True, slots=True)
class Record:
    """The one object behind compare-and-swap: everything that is remembered about deliveries."""

    rollout: Rollout | None = None
    lease: Lease | None = None
    colours: dict[str, str] = field(default_factory=dict)
    """Colour -> version, for blue-green."""
    history: tuple[Past, ...] = ()
