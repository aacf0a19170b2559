"""The verbs that steer jobs, from the words of the command line to the request, and how the answers look."""

from __future__ import annotations

import json

from tests.integration.client.command_line import run
from tests.integration.client.fake_site import Site
from virtyard.api.jobs.v1 import job_control_pb2 as control
from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.jobs.v1 import wait_explanation_pb2 as pb

JOBS = "/virtyard.api.jobs.v1.JobService"


async def test_a_job_is_held_and_moved_by_name(site: Site) -> None:
    """A short name, a reason, a priority below 0 too; the answer is the job, with who holds it."""
    held = job_pb2.Job(name="jobs/12-1", state=job_pb2.JOB_STATE_RUNNING, held=job_pb2.HELD_REASON_PERSON, priority=-5)
    held.hold.principal = "user/ann"
    site.answers[f"{JOBS}/HoldJob"] = [held]
    site.answers[f"{JOBS}/SetJobPriority"] = [held]
    ended = await run(site, "job", "hold", "12-1", "--reason", "the array is being mended")
    assert ended.code == 0, ended.err
    assert "user/ann" in ended.out
    ended = await run(site, "job", "set-priority", "12-1", "--priority", "-5")
    assert ended.code == 0, ended.err
    wanted = control.HoldJobRequest(name="jobs/12-1", reason="the array is being mended")
    assert site.requests(control.HoldJobRequest) == [wanted]
    assert site.requests(control.SetJobPriorityRequest) == [
        control.SetJobPriorityRequest(name="jobs/12-1", priority=-5)
    ]


async def test_many_are_aborted_with_a_preview(site: Site) -> None:
    """--preview asks for what would happen; the answer is a table of jobs with their results."""
    row = control.JobAbort(
        job="jobs/12-3",
        title="Create Virtual Disk",
        object="virtualDisks/web-disk0",
        state=job_pb2.JOB_STATE_RUNNING,
        result=control.ABORT_RESULT_TOO_LATE,
        matches=True,
    )
    site.answers[f"{JOBS}/AbortJobs"] = [control.AbortJobsResponse(jobs=[row])]
    ended = await run(site, "job", "abort-all", "--filter", "done = false", "--preview")
    assert ended.out.splitlines() == [
        "JOB   TITLE                OBJECT                  STATE    RESULT",
        "12-3  Create Virtual Disk  virtualDisks/web-disk0  running  too-late",
    ]
    wanted = control.AbortJobsRequest(filter="done = false", validate_only=True)
    assert site.requests(control.AbortJobsRequest) == [wanted]


async def test_a_wait_is_explained_for_people_and_for_programs(site: Site) -> None:
    """In words, or as one JSON object."""
    told = pb.WaitExplanation(cause=pb.WAIT_CAUSE_HELD, summary="operations/12 is set aside: user/ann set it aside")
    told.job.job = "jobs/12-1"
    site.answers[f"{JOBS}/ExplainWait"] = [told]
    ended = await run(site, "job", "explain", "12-1")
    assert "Why: operations/12 is set aside: user/ann set it aside." in ended.out.splitlines()
    ended = await run(site, "job", "explain", "12-1", "--json")
    assert json.loads(ended.out)["cause"] == "WAIT_CAUSE_HELD"
