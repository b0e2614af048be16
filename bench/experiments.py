"""Assignment, the durable log, the analysis and the import: beside what a user would pick instead, in one run.

Run: python bench/experiments.py [--rounds N] [--write]. CPU time of one process, interleaved rounds, medians. Builds an
environment with the versions below, once; peers are growthbook and eppo-server-sdk, and SQL written by hand.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("growthbook==4.0.0", "eppo-server-sdk==4.4.1", "duckdb==2.0.0")
PYTHON = Path(tempfile.gettempdir()) / "quadra-bench-experiments" / "bin" / "python"
OURS, GROWTHBOOK, EPPO = "Quadra Matrix", "growthbook", "eppo-server-sdk"
DURABLE = "Quadra Matrix, exposures written and synced"
CALLS = 20_000
EXPOSURES, CONVERSIONS, USERS = 10_000_000, 1_000_000, 3_000_000
CONFIG = {"ui": "new", "colour": "green"}
TARGETS = {
    f"times {GROWTHBOOK} run": (">=", 10.0),
    f"times {EPPO} get_json_assignment": (">=", 1.0),
    f"times {EPPO} get_string_assignment": (">=", 1.0),
    "durable events a second": (">=", 200_000.0),
    "analysis, times hand-written SQL": ("<=", 1.3),
    "analysis, peak MB": ("<=", 700.0),
    "import, ms more than bare Python": ("<=", 60.0),
}


def build() -> None:
    """Make the environment unless it is there, and run this file in it."""
    uv = str(Path(sys.executable).parent / "uv")
    if not PYTHON.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, PYTHON.parent.parent], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", PYTHON, *PEERS], check=True)
    found = dict[str, float]()
    for part in ("assign", "log", "analyse", "import"):
        command = [PYTHON, __file__, "--inside", part, *sys.argv[1:]]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, stdout=subprocess.PIPE, check=True
        )
        found.update(json.loads(done.stdout))
    report(found)


def contenders(folder: Path) -> tuple[dict[str, Callable[[str, dict[str, Any]], Any]], Callable[[], None]]:
    """Return each candidate (two rules, a config, the exposure put in a queue) and what makes ours durable."""
    import eppo_client
    import growthbook
    from eppo_client import AssignmentLogger, ClientConfig, Configuration

    from quadra_matrix.experiments import ABTestingFramework

    framework = ABTestingFramework(folder)
    framework.create_experiment(
        "exp",
        [
            {"name": "control", "weight": 1, "config": {"ui": "old"}},
            {"name": "treatment", "weight": 1, "config": CONFIG},
        ],
        {"country": {"in": ["US", "CA"]}, "age": {"gt": 18}},
    ).start()
    waiting: list[Any] = []

    class Logger(AssignmentLogger):
        def log_assignment(self, event: Any) -> None:
            waiting.append(event)

    eppo_client.init(
        ClientConfig(
            api_key="offline",
            assignment_logger=Logger(),
            poll_interval_seconds=None,
            initial_configuration=Configuration(flags_configuration=json.dumps(eppo_flags()).encode()),
        )
    )
    client = eppo_client.get_instance()
    book = growthbook.GrowthBook(
        trackingCallback=lambda experiment, result, **context: waiting.append((experiment.key, result.key))
    )
    experiment = growthbook.Experiment(
        key="exp",
        variations=[{"ui": "old"}, CONFIG],
        condition={"country": {"$in": ["US", "CA"]}, "age": {"$gt": 18}},
        hashAttribute="id",
        hashVersion=2,
    )

    def growthbook_run(user: str, attributes: dict[str, Any]) -> Any:
        book.set_attributes({**attributes, "id": user})
        return book.run(experiment).value

    candidates: dict[str, Callable[[str, dict[str, Any]], Any]] = {
        OURS: lambda user, attributes: framework.get_variant("exp", user, attributes)["config"],
        f"{GROWTHBOOK} run": growthbook_run,
        f"{EPPO} get_json_assignment": lambda user, attributes: client.get_json_assignment("exp", user, attributes, {}),
        f"{EPPO} get_string_assignment": lambda user, attributes: client.get_string_assignment(
            "text", user, attributes, ""
        ),
    }
    return candidates, framework.flush


def eppo_flags() -> dict[str, Any]:
    """Return the experiment in Eppo's format."""

    def flag(key: str, kind: str, values: list[Any]) -> dict[str, Any]:
        halves = [
            {"variationKey": name, "shards": [{"salt": key, "ranges": [{"start": start, "end": start + 5000}]}]}
            for name, start in (("control", 0), ("treatment", 5000))
        ]
        conditions = [
            {"attribute": "country", "operator": "ONE_OF", "value": ["US", "CA"]},
            {"attribute": "age", "operator": "GT", "value": 18},
        ]
        return {
            "key": key,
            "enabled": True,
            "variationType": kind,
            "variations": {
                name: {"key": name, "value": value}
                for name, value in zip(("control", "treatment"), values, strict=True)
            },
            "allocations": [{"key": "all", "rules": [{"conditions": conditions}], "splits": halves, "doLog": True}],
            "totalShards": 10000,
        }

    flags = {
        "exp": flag("exp", "JSON", [json.dumps({"ui": "old"}), json.dumps(CONFIG)]),
        "text": flag("text", "STRING", ["old", "new"]),
    }
    return {"createdAt": "2025-01-01T00:00:00Z", "environment": {"name": "bench"}, "format": "SERVER", "flags": flags}


def assign(rounds: int) -> dict[str, float]:
    """Time assignment of fresh users: the CPU time of the calling thread, and ours again with the durable write."""
    attributes = {"country": "US", "age": 25}
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        candidates, flush = contenders(Path(folder))
        for name, call in candidates.items():
            assert call("user1", attributes) in (CONFIG, {"ui": "old"}, "old", "new"), name
        for turn in range(rounds):
            for name, call in candidates.items():
                users = [f"user-{turn}-{number}" for number in range(CALLS)]
                own, whole = time.thread_time(), time.process_time()
                for user in users:
                    call(user, attributes)
                seconds.setdefault(name, []).append((time.thread_time() - own) / CALLS)
                if name == OURS:
                    flush()
                    seconds.setdefault(DURABLE, []).append((time.process_time() - whole) / CALLS)
    found = {f"{name}, calls a CPU second": 1 / statistics.median(each) for name, each in seconds.items()}
    for name in (f"{GROWTHBOOK} run", f"{EPPO} get_json_assignment", f"{EPPO} get_string_assignment"):
        found[f"times {name}"] = ratio_of(seconds[name], seconds[OURS])
    found[f"times {GROWTHBOOK} run, our writing included"] = ratio_of(seconds[f"{GROWTHBOOK} run"], seconds[DURABLE])
    return found


def ratio_of(theirs: list[float], ours: list[float]) -> float:
    """Return the median of the ratios of each round."""
    return statistics.median(t / o for t, o in zip(theirs, ours, strict=True))


def log(rounds: int) -> dict[str, float]:
    """Time events from the append to the return of the flush that made them durable."""
    from quadra_matrix.experiments.log import EventLog
    from quadra_matrix.experiments.segments import SegmentFolder
    from quadra_matrix.experiments.serve import Cell

    events, cell, wall, cpu = 500_000, Cell("exp", 1, "control"), [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=ROOT) as folder:
            journal = EventLog(SegmentFolder(Path(folder)))
            start, used = time.perf_counter(), time.process_time()
            for number in range(events):
                journal.expose((time.time(), cell, f"user-{number}", None))
            journal.flush()
            wall.append(events / (time.perf_counter() - start))
            cpu.append(events / (time.process_time() - used))
            journal.close()
    return {"durable events a second": statistics.median(wall), "durable events a CPU second": statistics.median(cpu)}


BARE = """
with e as materialized (
  select unit, min(ts) ts, min(variant) variant from exposures group by unit having min(variant) = max(variant)
),
c as (
  select e.variant, e.unit, sum(v.value) s from conversions v join e on e.unit = v.unit and v.ts >= e.ts group by 1, 2
)
select u.variant, u.n, a.x, a.s, a.q from (select variant, count(*) n from e group by 1) u
left join (select variant, count(*) x, sum(s) s, sum(s * s) q from c group by 1) a using (variant)
"""


def analyse(rounds: int) -> dict[str, float]:
    """Count ten million exposures, each contender in a process of its own so that the peak is its own."""
    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "events.duckdb")
        fill(database)
        seconds: dict[str, list[float]] = {"bare": [], "ours": []}
        peak: dict[str, float] = {}
        for _ in range(rounds):
            for name in seconds:
                command = [sys.executable, __file__, "--inside", f"query-{name}", "--database", database]
                done = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
                seconds[name].append(done["seconds"])
                peak[name] = max(peak.get(name, 0.0), done["peak"])
    return {
        "analysis, CPU seconds": statistics.median(seconds["ours"]),
        "hand-written SQL, CPU seconds": statistics.median(seconds["bare"]),
        "analysis, times hand-written SQL": ratio_of(seconds["ours"], seconds["bare"]),
        "analysis, peak MB": peak["ours"],
        "hand-written SQL, peak MB": peak["bare"],
    }


def fill(database: str) -> None:
    """Write the events: three million users, seen three times each on average, over fourteen days."""
    import duckdb

    with duckdb.connect(database, config={"threads": 1}) as connection:
        connection.execute(
            f"""create table exposures as select 1700000000000000 + i * 120000 as ts, 'exp' as experiment, 1 as phase,
              case when hash(u) % 2 = 0 then 'control' else 'treatment' end as variant, 'user-' || u as unit,
              null::double as covariate
            from (select i, (hash(i) % {USERS})::bigint as u from range({EXPOSURES}) as t(i))"""
        )
        connection.execute(
            f"""create table conversions as select 1700000000000000 + i * 1200000 as ts, printf('%016x', i) as event_id,
              'exp' as experiment, 1 as phase, '' as variant, 'user-' || (hash(i, 7) % {USERS}) as unit,
              'conversion' as metric, (hash(i) % 10000) / 100.0 as value from range({CONVERSIONS}) as t(i)"""
        )


def query(name: str, database: str) -> dict[str, float]:
    """Run one query as the product runs it: one thread, bounded memory."""
    from quadra_matrix.experiments.aggregate import Question, Relations, aggregate_sql
    from quadra_matrix.experiments.warehouse import DuckDBWarehouse

    warehouse = DuckDBWarehouse.of_database(database, Relations("exposures", "conversions"))
    sql = BARE if name == "bare" else aggregate_sql(Question("exp"), warehouse.relations, warehouse.dialect)
    start = time.process_time()
    rows = warehouse.rows(sql)
    seconds = time.process_time() - start
    assert rows
    return {"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def imports(rounds: int) -> dict[str, float]:
    """Time a fresh interpreter with and without the import."""

    def once(program: str) -> float:
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", program], check=True)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        return 1000 * (end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime)

    once("import quadra_matrix.experiments")  # writes the byte code
    pairs = [(once("import quadra_matrix.experiments"), once("pass")) for _ in range(4 * rounds)]
    return {"import, ms more than bare Python": statistics.median(ours - bare for ours, bare in pairs)}


def report(found: dict[str, float]) -> None:
    """Print the table; with --write keep it beside the other results."""
    lines = ["| what | measured | target |", "|---|---|---|"]
    for name, value in found.items():
        sign, target = TARGETS.get(name, ("", 0.0))
        lines.append(f"| {name} | {value:,.{0 if value >= 100 else 2}f} | {sign} {f'{target:,g}' if sign else ''} |")
    print("\n".join(lines))
    if "--write" in sys.argv:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "cpus": os.cpu_count()}
        document = {**machine, "peers": PEERS, "measured": found, "targets": TARGETS}
        (ROOT / "bench" / "results" / "experiments.json").write_text(json.dumps(document, indent=2) + "\n")


PARTS: dict[str, Callable[[int], dict[str, float]]] = {
    "assign": assign,
    "log": log,
    "analyse": analyse,
    "import": imports,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--database", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is None:
        build()
    elif options.inside.startswith("query-"):
        print(json.dumps(query(options.inside.removeprefix("query-"), options.database)))
    else:
        print(json.dumps(PARTS[options.inside](options.rounds)))


if __name__ == "__main__":
    main()
