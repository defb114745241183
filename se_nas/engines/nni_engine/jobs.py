"""A job as plain data, for another process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from se_nas.engines.plan import Job
from se_nas.space.architecture import Architecture


def job_data(job: Job) -> dict[str, Any]:
    """What `job_of` makes the job of again."""
    return {**vars(job), "architecture": job.architecture.to_json(), "fidelity": dict(job.fidelity), "costs": dict(job.costs)}


def job_of(data: Mapping[str, Any]) -> Job:
    """The job of its data."""
    plain = {**data, "fidelity": dict(data["fidelity"]), "costs": dict(data["costs"])}
    return Job(**{**plain, "architecture": Architecture.from_json(data["architecture"])})
