"""The only writer of results."""

from harness.store.records import BaselineRecord, JobRecord, RunRecord, TrialRecord
from harness.store.store import DEFAULT_STORE, Store

__all__ = ["DEFAULT_STORE", "BaselineRecord", "JobRecord", "RunRecord", "Store", "TrialRecord"]
