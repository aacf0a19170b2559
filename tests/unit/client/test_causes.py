"""What led to an error is told beneath it: the jobs that failed, their steps, and nothing twice."""

from __future__ import annotations

from google.longrunning import operations_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard_client.errors import ClientError
from virtyard_client.render.causes import causes, facts, failed_object
from virtyard_client.render.event import became, event_line
from virtyard_client.render.line import plain
from virtyard_client.render.refusal import refusal
from virtyard_client.story import Story


def status(message: str, reason: str = "UNAVAILABLE") -> status_pb2.Status:
    """Return an error as a service gives it."""
    made = status_pb2.Status(code=code_pb2.UNAVAILABLE, message=message)
    made.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="virtyard", metadata={"disk": "full"}))
    return made


def failed() -> Story:
    """Return an operation whose second job failed in a step."""
    operation = operations_pb2.Operation(name="operations/12", done=True, error=status("the disk is full"))
    operation.metadata.Pack(operation_pb2.OperationMetadata(title="Create Virtual Machine"))
    story = Story(operation)
    step = job_pb2.Step(id="1", title="Make the image", participant="servers/s1", error=status("no space left"))
    story.jobs = {
        "jobs/12-1": job_pb2.Job(name="jobs/12-1", title="Create Virtual Machine", object="virtualMachines/web"),
        "jobs/12-3": job_pb2.Job(
            name="jobs/12-3",
            title="Create Virtual Disk",
            object="virtualDisks/d",
            error=status("the disk is full"),
            steps=[step],
        ),
    }
    return story


def test_the_chain_names_job_object_step_and_participant() -> None:
    """Each beneath what it led to; the sentence that stands above is not said again."""
    lines = [plain(each) for each in causes(failed(), 200)]
    assert lines == [
        "  because jobs/12-3 Create Virtual Disk on virtualDisks/d",
        "    because step 1, Make the image (by servers/s1): no space left (UNAVAILABLE)",
    ]


def test_a_refusal_says_what_failed_on_which_object_why_and_what_to_do() -> None:
    """The object is that of the job that failed, where the error names none."""
    story = failed()
    assert story.error is not None
    lines = [plain(each) for each in refusal(story.error, (), 200, "operations/12 X", failed_object(story))]
    assert lines[0] == "virtyard: operations/12 X: the disk is full (UNAVAILABLE)"
    assert lines[1] == "  resource: virtualDisks/d"
    assert lines[2].startswith("  to do: see whether the services are up")
    assert [plain(each) for each in facts(story.error)] == ["  code: UNAVAILABLE", "  disk: full"]


def test_an_error_of_another_system_is_told_as_it_is() -> None:
    """Without details there is no advice, and nothing is made up."""
    error = ClientError("it is odd", code="UNKNOWN")
    assert [plain(each) for each in refusal(error, (), 200)] == ["virtyard: it is odd (UNKNOWN)"]


def test_an_event_is_told_with_what_became_of_it() -> None:
    """First the fact, later what was done about it."""
    event = event_pb2.Event(
        name="events/7", type="JOB_FAILED", severity=event_pb2.SEVERITY_WARNING, object="servers/s", message="it failed"
    )
    event.open, event.acknowledgeable = True, True
    assert plain(event_line(event, revised=False)) == "events/7  warning  JOB_FAILED on servers/s: it failed (open)"
    assert became(event) == "open"
    event.open, event.acknowledged_by, event.comment, event.forced = False, "user/admin", "seen", True
    event.acknowledge_time.GetCurrentTime()
    wanted = "events/7  warning  JOB_FAILED on servers/s: acknowledged by user/admin by force: seen"
    assert plain(event_line(event, revised=True)) == wanted
