"""The only writer of results."""

from harness.store.batch import Batch, JobStore
from harness.store.records import BaselineRecord, JobRecord, RunRecord, TrialRecord
from harness.store.store import DEFAULT_STORE, Store
from harness.store.writing import Conclusion

__all__ = [
    "DEFAULT_STORE",
    "BaselineRecord",
    "Batch",
    "Conclusion",
    "JobRecord",
    "JobStore",
    "RunRecord",
    "Store",
    "TrialRecord",
]
