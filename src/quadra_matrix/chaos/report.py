"""Outcomes for people and for machines: one verdict, the same everywhere. Text in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from quadra_matrix.chaos.outcome import Outcome, Verdict
from quadra_matrix.chaos.recovery import Span

RULE = "=" * 37
WORST_FIRST = (
    Verdict.REMAINS,
    Verdict.INTERRUPTED,
    Verdict.TERMINATED,
    Verdict.DEVIATED,
    Verdict.NOT_RECOVERED,
    Verdict.STOPPED,
    Verdict.INVALID,
    Verdict.NOT_STEADY,
    Verdict.REFUSED,
    Verdict.SKIPPED,
)
"""Which of several verdicts the exit code of a suite tells."""


def exit_of(outcomes: Iterable[Outcome]) -> int:
    """Return the exit code of a command that ran these."""
    found = {outcome.verdict for outcome in outcomes}
    return next((verdict.exit for verdict in WORST_FIRST if verdict in found), 0)


def lines(outcome: Outcome) -> list[str]:
    """Return one outcome as people read it in a terminal."""
    times = outcome.times
    told = [f"{outcome.experiment}: {outcome.verdict.value.upper()}", f"  {outcome.because}"]
    told += [f"  {dose.delivery}: {dose}" for dose in outcome.doses]
    if outcome.tolerance is not None:
        told.append(f"  service during the fault: {outcome.tolerance.finding} ({outcome.tolerance.because})")
    for name, span in (
        ("time to impact", times.to_impact),
        ("time to mitigation", times.to_mitigation),
        ("time to recover", times.to_recover),
    ):
        if span is not None:
            told.append(f"  {name}: {seconds(span)}")
    if outcome.overhead is not None:
        told.append(f"  the proxy by itself adds {1000 * outcome.overhead:.1f} ms")
    told += [f"  {note}" for note in outcome.notes]
    return [*told, f"  run {outcome.run}, seed {outcome.seed}, {outcome.seconds:.1f} s"]


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the table of a suite."""
    passed = sum(outcome.verdict.is_pass for outcome in outcomes)
    failed, whole = len(outcomes) - passed, max(1, len(outcomes))
    width = max((len(outcome.experiment) for outcome in outcomes), default=0)
    rows = [f"{_tick(one.verdict.is_pass)} {one.experiment:<{width}} | {_cells(one)}" for one in outcomes]
    head = [
        "CHAOS TEST SUITE SUMMARY",
        RULE,
        f"Total Experiments: {len(outcomes)}",
        f"Passed: {passed} ({100 * passed / whole:.0f}%)",
        f"Failed: {failed} ({100 * failed / whole:.0f}%)",
        RULE,
    ]
    return "\n".join([*head, *rows])


def has_recovered(outcome: Outcome) -> bool:
    """Tell whether the service was shown to be as before."""
    return outcome.times.to_recover is not None


def as_junit(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as JUnit XML: what fails is a failure, what could not be judged an error or a skip."""
    suite = ET.Element("testsuite", name="quadra chaos", tests=str(len(outcomes)))
    counts = {"failure": 0, "error": 0, "skipped": 0}
    for outcome in outcomes:
        case = ET.SubElement(
            suite, "testcase", classname="quadra.chaos", name=outcome.experiment, time=f"{outcome.seconds:.3f}"
        )
        if not outcome.verdict.is_pass:
            kind = {1: "failure", 7: "skipped"}.get(outcome.verdict.exit, "error")
            counts[kind] += 1
            ET.SubElement(case, kind, message=f"{outcome.verdict}: {outcome.because}")
        ET.SubElement(case, "system-out").text = "\n".join(lines(outcome))
    for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(attribute, str(counts[kind]))
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)


def as_markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a Markdown table, with what each rests on below."""
    rows = [
        f"| {outcome.experiment} | **{outcome.verdict}** | {_doses(outcome)} | "
        f"{seconds(outcome.times.to_recover) if outcome.times.to_recover else '-'} | {outcome.seconds:.1f} s |"
        for outcome in outcomes
    ]
    parts = [
        "\n".join([f"### {outcome.experiment}", "", f"Started {moment(outcome.started)}.", "", *_bullets(outcome)])
        for outcome in outcomes
    ]
    table = ["| experiment | verdict | dose | time to recover | duration |", "|---|---|---|---|---|", *rows]
    return "\n".join(["# Chaos experiments", "", *table, "", "\n\n".join(parts), ""])


def seconds(span: Span) -> str:
    """Return when something happened, as far as two probes tell."""
    return f"between {span.low:.2f} and {span.high:.2f} s"


def moment(at: float) -> str:
    """Return seconds since the epoch as a date and time of UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _cells(outcome: Outcome) -> str:
    """Return what a line of a suite's table says after the name."""
    found, dose = outcome.times.to_recover, _doses(outcome)
    when = f" {seconds(found)}" if found is not None else ""
    recovered = f"Recovered: {_tick(has_recovered(outcome))}"
    return f"{recovered} | Duration: {outcome.seconds:.1f}s | {dose} | {outcome.verdict}{when}"


def _bullets(outcome: Outcome) -> list[str]:
    return [f"- {line.strip()}" for line in lines(outcome)]


def _doses(outcome: Outcome) -> str:
    return "; ".join(str(dose) for dose in outcome.doses) or "no dose"


def _tick(is_so: bool) -> str:
    return "✓" if is_so else "✗"
