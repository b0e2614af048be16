"""The values that must last, and the Store protocols that features need; at most four methods each."""

from quadra_matrix.store.ids import new_id
from quadra_matrix.store.jobs import Job, JobEvent, JobLog, JobQueue, JobState, JobStore

__all__ = ["Job", "JobEvent", "JobLog", "JobQueue", "JobState", "JobStore", "new_id"]
