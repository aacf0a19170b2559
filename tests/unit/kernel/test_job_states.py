"""The tables of states: complete, with no way back from an end, and the same as what the documentation shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtyard.api.jobs.v1 import job_pb2
from virtyard.kernel.errors import InternalError
from virtyard.kernel.job_states import (
    ENDED,
    JOB_TABLE,
    STEP_TABLE,
    JobEvent,
    JobState,
    StepState,
    check_step_change,
    display_state,
    next_job_state,
    render,
    render_steps,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "job-states.md"

DESIGN = {
    "PENDING": {"WAITING_FOR_LOCKS", "RUNNING", "ABORTED"},
    "WAITING_FOR_LOCKS": {"RUNNING", "FAILED", "ABORTED"},
    "RUNNING": {"COMPLETED", "ROLLING_BACK"},
    "COMPLETED": {"ROLLING_BACK"},
    "ROLLING_BACK": {"FAILED", "ABORTED", "ROLLBACK_FAILED"},
    "FAILED": set(),
    "ABORTED": set(),
    "ROLLBACK_FAILED": {"ROLLING_BACK", "FAILED"},
}
"""Which states may follow each, as the design has it."""


def test_states_have_the_names_and_numbers_of_the_contract() -> None:
    """Stored numbers and public numbers are the same."""
    jobs = {state.name.removeprefix("JOB_STATE_"): state.number for state in job_pb2.JobState.DESCRIPTOR.values}
    steps = {state.name.removeprefix("STEP_STATE_"): state.number for state in job_pb2.StepState.DESCRIPTOR.values}
    assert {state.name: state.value for state in JobState} == {key: jobs[key] for key in jobs if jobs[key]}
    assert {state.name: state.value for state in StepState} == {key: steps[key] for key in steps if steps[key]}


def test_job_table_allows_what_the_design_allows() -> None:
    """No change more and none less."""
    following: dict[str, set[str]] = {state.name: set() for state in JobState}
    for (before, _), after in JOB_TABLE.items():
        following[before.name].add(after.name)
    assert following == DESIGN


@pytest.mark.parametrize("event", list(JobEvent))
@pytest.mark.parametrize("state", list(JobState))
def test_every_pair_of_state_and_event_is_decided(state: JobState, event: JobEvent) -> None:
    """Either the table has it, or it is refused with both names."""
    if (state, event) in JOB_TABLE:
        assert next_job_state(state, event) is JOB_TABLE[state, event]
    else:
        with pytest.raises(InternalError, match=f"{state.name} cannot take {event.name}"):
            next_job_state(state, event)


def test_every_event_happens_somewhere() -> None:
    """No event is there for nothing."""
    assert {event for _, event in JOB_TABLE} == set(JobEvent)


def test_every_state_can_be_reached_and_can_end() -> None:
    """From PENDING to each state, and from each to an end."""
    reached = {JobState.PENDING}
    while grown := {after for (before, _), after in JOB_TABLE.items() if before in reached} - reached:
        reached |= grown
    assert reached == set(JobState)
    ending = {JobState.FAILED, JobState.ABORTED, JobState.COMPLETED}
    while grown := {before for (before, _), after in JOB_TABLE.items() if after in ending} - ending:
        ending |= grown
    assert ending == set(JobState)


@pytest.mark.parametrize("before", list(StepState))
@pytest.mark.parametrize("after", list(StepState))
def test_every_change_of_a_step_is_decided(before: StepState, after: StepState) -> None:
    """Either the table has it, or it is refused with both names."""
    if after in STEP_TABLE[before]:
        check_step_change(before, after)
    else:
        with pytest.raises(InternalError, match=f"{before.name} cannot become {after.name}"):
            check_step_change(before, after)


def test_what_never_began_or_is_undone_stays_so() -> None:
    """UNDONE and SKIPPED have no way out, and nothing but a start leads to DONE."""
    assert STEP_TABLE[StepState.UNDONE] == STEP_TABLE[StepState.SKIPPED] == frozenset()
    assert {state for state, following in STEP_TABLE.items() if StepState.DONE in following} == {StepState.STARTED}


@pytest.mark.parametrize(
    ("state", "children", "shown"),
    [
        (JobState.PENDING, [], "IN_PROGRESS"),
        (JobState.WAITING_FOR_LOCKS, [], "IN_PROGRESS"),
        (JobState.RUNNING, [], "IN_PROGRESS"),
        (JobState.RUNNING, [JobState.PENDING, JobState.PENDING], "CHILD_QUEUED"),
        (JobState.RUNNING, [JobState.PENDING, JobState.RUNNING], "CHILD_RUNNING"),
        (JobState.RUNNING, [JobState.COMPLETED, JobState.COMPLETED], "IN_PROGRESS"),
        (JobState.ROLLING_BACK, [JobState.RUNNING], "IN_PROGRESS"),
        (JobState.COMPLETED, [], "COMPLETED"),
        (JobState.FAILED, [], "FAILED"),
        (JobState.ABORTED, [], "ABORTED"),
        (JobState.ROLLBACK_FAILED, [], "FAILED"),
    ],
)
def test_people_see_one_of_six_states(state: JobState, children: list[int], shown: str) -> None:
    """Completed, In Progress, Aborted, Failed, Child Queued, Child Running."""
    assert job_pb2.DisplayState.Name(display_state(state, children)) == f"DISPLAY_STATE_{shown}"


def test_diagram_has_every_change_and_every_end() -> None:
    """One line for each change, one for each beginning and end."""
    lines = render().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert "    RUNNING --> ROLLING_BACK: it failed, was aborted, or a later job did" in lines
    assert len(lines) == 1 + 2 + len(JOB_TABLE) + len(ENDED)
    assert len(lines) == len(set(lines))


def test_documentation_shows_the_tables() -> None:
    """The diagrams in the documentation are those that the tables give."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert f"```mermaid\n{render()}\n```" in text
    assert f"```mermaid\n{render_steps()}\n```" in text
