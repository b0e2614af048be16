"""What the processes of jobs wrote, wherever they ran."""

from __future__ import annotations

from collections.abc import Callable

from quadra_matrix.errors import JobLogUnavailable
from quadra_matrix.service.jobs.attendant import read_log
from quadra_matrix.service.settings import ExecutorName, Settings
from quadra_matrix.store import JobStore

ReadLog = Callable[[str], str]
"""Returns the last 64 KiB that a job wrote; empty before it wrote anything. Raises ``JobLogUnavailable``."""


def log_reader(settings: Settings, jobs: JobStore) -> ReadLog:
    """Return what reads the logs of jobs where the settings run them; it connects anew for each, they are few."""

    def on_cluster(job: str) -> str:
        from quadra_matrix.service.jobs.kubernetes import KubernetesExecutor

        with KubernetesExecutor(jobs, namespace=settings.kubernetes_namespace) as executor:
            return executor.logs(job)

    def on_dask(job: str) -> str:
        from quadra_matrix.service.jobs.dask import DaskExecutor

        try:
            with DaskExecutor(str(settings.dask_address)) as executor:
                return executor.logs(job)
        except OSError as failed:
            raise JobLogUnavailable(job, str(failed)) from failed

    def here(job: str) -> str:
        return read_log(settings, job)

    return {ExecutorName.KUBERNETES: on_cluster, ExecutorName.DASK: on_dask}.get(settings.executor, here)
