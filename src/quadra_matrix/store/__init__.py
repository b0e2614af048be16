"""The values that must last, and the Store protocols that features need; at most four methods each."""

from quadra_matrix.store.ids import new_id
from quadra_matrix.store.jobs import Job, JobEvent, JobLog, JobState, JobStore, WaitingJobs

__all__ = ["Job", "JobEvent", "JobLog", "JobState", "JobStore", "WaitingJobs", "new_id"]
