"""The tables. A change here needs a migration beside it."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("suite_name", Text, nullable=False),
    Column("created", String(40), nullable=False),
    Column("finished", String(40)),
    Column("status", String(16), nullable=False),
    Column("suite", JSON, nullable=False),
    Column("environment", JSON, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", String(64), ForeignKey("runs.id"), nullable=False),
    Column("idx", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("recipe", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("backend", Text, nullable=False),
    Column("threads", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("error", Text),
    Column("variant_sha256", String(64)),
    Column("size_bytes", Integer),
    Column("manifest", JSON, nullable=False),
    Column("runtime", Text),
    Column("runtime_version", Text),
    Column("facts", JSON, nullable=False),
    Column("sealed_at", String(40)),
    UniqueConstraint("run_id", "idx"),
)

trials = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Integer, ForeignKey("jobs.id"), nullable=False, index=True),
    Column("idx", Integer, nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("started", String(40), nullable=False),
    Column("error", Text),
    Column("hello", JSON, nullable=False),
    Column("facts", JSON, nullable=False),
)

samples = Table(
    "samples",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial_id", Integer, ForeignKey("trials.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("phase", String(16), nullable=False),
    Column("n", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("samples_by_trial", "trial_id", "seq"),
)

measurements = Table(
    "measurements",
    metadata,
    Column("job_id", Integer, ForeignKey("jobs.id"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", Float, nullable=False),
    Column("low", Float),
    Column("high", Float),
    Column("unit", String(16), nullable=False),
    Column("better", String(8), nullable=False),
    Column("n", Integer, nullable=False),
    Column("groups", Integer, nullable=False),
)

advisories = Table(
    "advisories",
    metadata,
    Column("job_id", Integer, ForeignKey("jobs.id"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("evidence", Text, nullable=False),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("job_id", Integer, ForeignKey("jobs.id"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("dtype", String(16), nullable=False),
    Column("shape", JSON, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

#: The newest session at each place where devices keep their leases; see ``fences.py``.
fences = Table(
    "fences",
    metadata,
    Column("place", String(64), primary_key=True),
    Column("token", Integer, nullable=False),
)

#: Names for runs. No foreign key: a name whose run has gone is told, not forgotten.
baselines = Table(
    "baselines",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("run_id", String(64), nullable=False),
    Column("set_at", String(40), nullable=False),
)
