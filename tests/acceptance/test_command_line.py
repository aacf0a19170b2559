"""The command line on a real site: describe, watch, status, transcript, preview, completion, columns and forms."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.acceptance.asking import create_machine, new_disk, prepare, run, start_machine
from tests.acceptance.site import PROGRAM, Site, open_site, until
from virtyard.runtime.pki import Authority
from virtyard_client.completion import SCRIPTS

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with a machine that runs and one that does not."""
    with open_site("embedded", ("s1",)) as opened:

        async def fill() -> None:
            async with opened.client() as client:
                await prepare(opened, client)
                await run(client, create_machine(opened, "web", [new_disk(4)], 1))
                await run(client, create_machine(opened, "idle"))
                await run(client, start_machine("web"))

        asyncio.run(fill())
        yield opened


def environment(site: Site) -> dict[str, str]:
    """The environment of a command on this site."""
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "TERM")}
    path = f"{Path(PROGRAM).parent}:{os.environ['PATH']}"
    return kept | {"VIRTYARD_CONTEXT": str(site.context), "PYTHONUTF8": "1", "PATH": path}


def virtyard(site: Site, *words: str, code: int = 0) -> str:
    """Run a command that ends with this code, and return what it printed."""
    ended = subprocess.run(
        [PROGRAM, *words], env=environment(site), capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == code, (words, ended.stdout, ended.stderr)
    return ended.stdout + ended.stderr


def names(site: Site, noun: str) -> list[str]:
    """The names of every object of a kind."""
    return [json.loads(line)["name"] for line in virtyard(site, noun, "list", "--json").splitlines()]


def test_describe_tells_all_of_an_object(site: Site) -> None:
    """Its fields, jobs and events, and every verb with why it is refused now; nothing is changed by asking."""
    before = names(site, "job")
    text = virtyard(site, "vm", "describe", "web")
    assert "jobs/" in text
    assert "Start Virtual Machine" in text
    assert "virtualMachines/web is running; it must be stopped" in text
    told = json.loads(virtyard(site, "vm", "describe", "idle", "--json"))
    operations = {each["verb"]: each for each in told["operations"]}
    assert operations["start"]["allowed"]
    assert operations["rename"]["allowed"]
    assert operations["kill"]["reason"] == "virtualMachines/idle is stopped; it must be running or starting"
    assert told["object"]["name"] == "virtualMachines/idle"
    assert [job["object"] for job in told["jobs"]] == ["virtualMachines/idle"] * len(told["jobs"])
    assert names(site, "job") == before
    assert "NOT_FOUND" in virtyard(site, "vm", "describe", "nobody", code=2)


@pytest.mark.parametrize("noun", ["server", "server-pool", "repository", "virtual-disk", "vm", "vnic"])
def test_every_noun_is_described_and_listed_in_every_form(site: Site, noun: str) -> None:
    """What a list gives as JSON it gives as YAML, and each of its objects can be described."""
    rows = [json.loads(line) for line in virtyard(site, noun, "list", "--output", "json").splitlines()]
    assert rows
    assert list(yaml.safe_load_all(virtyard(site, noun, "list", "--output", "yaml"))) == rows
    assert rows[0]["name"].partition("/")[2] in virtyard(site, noun, "describe", rows[0]["name"])


def test_columns_are_those_that_were_asked_for(site: Site) -> None:
    """In their order; one that does not exist is refused with those that do."""
    table = virtyard(site, "vm", "list", "--columns", "state,name", "--filter", 'state = "STOPPED"')
    assert table.splitlines() == ["STATE    NAME", "stopped  idle"]
    assert "there is no column 'colour'" in virtyard(site, "vm", "list", "--columns", "colour", code=2)
    assert "--output takes one of table, json, yaml" in virtyard(site, "vm", "list", "--output", "xml", code=2)


def test_a_watch_tells_each_change_once(site: Site, tmp_path: Path) -> None:
    """A line for what is there, and one for what a rename changes; Ctrl-C ends it."""
    log = tmp_path / "watch.txt"
    with log.open("w") as file:
        watching = subprocess.Popen([PROGRAM, "vm", "watch"], env=environment(site), stdout=file)
    try:
        until(lambda: "virtualMachines/idle: " in log.read_text(), 20, "the watch shows what is there")
        virtyard(site, "vm", "rename", "idle", "Idle one", "--wait")
        until(lambda: "virtualMachines/idle: display name Idle one" in log.read_text(), 20, "it shows the new name")
    finally:
        watching.send_signal(signal.SIGTERM)
        watching.wait(20)
    assert log.read_text().count("display name Idle one") == 1


def test_status_says_what_answers_and_what_there_is(site: Site) -> None:
    """Counts by state; with nobody there it says so and ends with 5."""
    told = json.loads(virtyard(site, "status", "--json"))
    assert told["services"] == {"inventory": "", "jobs": "", "locks": ""}
    assert told["objects"]["virtual-machine"] == {"running": 1, "stopped": 1}
    assert "virtual-machine    2: 1 running, 1 stopped" in virtyard(site, "status")
    away = json.loads(site.context.read_text())
    away |= dict.fromkeys(("inventory", "jobs", "locks"), "127.0.0.1:1")
    away["credentials"] = str(site.context.parent / away["credentials"])
    elsewhere = site.folder / "away.json"
    elsewhere.write_text(json.dumps(away))
    assert "cannot be reached" in virtyard(site, "status", "--context", str(elsewhere), code=5)


@pytest.mark.parametrize(
    ("trouble", "said", "reason"),
    [
        ("away", "nothing answers at 127.0.0.1:1, which the context file", "UNAVAILABLE"),
        ("ended", "ended at 20", "CERTIFICATE_ENDED"),
        ("foreign", "has no certificate of the authority", "CERTIFICATE_FOREIGN"),
        ("stranger", "does not accept the certificate in", "UNAVAILABLE"),
    ],
)
def test_a_connection_that_fails_is_told_in_words(site: Site, trouble: str, said: str, reason: str) -> None:
    """Which address, file or certificate it is about, and what to do; of what gRPC says of it nothing is left."""
    whole = json.loads(site.context.read_text())
    folder = site.folder / trouble
    if trouble == "away":
        whole |= dict.fromkeys(("inventory", "jobs", "locks"), "127.0.0.1:1")
    elif trouble == "ended":
        begun = datetime.now(UTC) - timedelta(days=2)
        Authority.load(site.folder / "pki").issue("user/old", folder, lifetime=timedelta(days=1), now=begun)
    else:
        Authority.create(site.folder / f"pki-{trouble}", "other.example").issue("user/eve", folder)
        if trouble == "stranger":
            shutil.copy(site.folder / "pki" / "ca.pem", folder)
    if folder.exists():
        whole["credentials"] = str(folder)
    context = site.folder / f"{trouble}.json"
    context.write_text(json.dumps(whole))
    told = " ".join(virtyard(site, "vm", "list", "--context", str(context), code=5).split())
    assert said in told
    assert f"({reason})" in told
    assert not any(word in told for word in ("all addresses", "SSL", "handshake", "ipv4"))


def test_a_lock_in_the_way_is_told_once_with_what_to_do(site: Site) -> None:
    """Who holds it and what for; not that the object should be in another state, as the lock is all that is wrong."""
    words = ("lock", "take", "virtualMachines/idle", "--for", "10m", "--json", "--purpose", "backup")
    held = json.loads(virtyard(site, *words))["name"]
    again = ("lock", "take", "virtualMachines/idle", "--for", "10m", "--no-wait", "--purpose", "mine")
    told = " ".join(virtyard(site, *again, code=2).split())
    virtyard(site, "lock", "release", held)
    assert told.count(f"held by {held} (backup, by user/admin)") == 1
    assert "to do: ask for it without --no-wait" in told
    assert "another state" not in told


def test_a_preview_of_any_verb_does_nothing(site: Site) -> None:
    """`operation preview` before a command is the same as --preview behind it."""
    before = names(site, "operation")
    first = virtyard(site, "operation", "preview", "vm", "start", "idle")
    assert first == virtyard(site, "vm", "start", "idle", "--preview")
    assert "Start Virtual Machine" in first
    assert names(site, "operation") == before


def test_a_transcript_is_the_whole_story(site: Site) -> None:
    """Every job and step with its times, also of an operation that failed, with its event."""
    missing = str(site.shared / "none")
    virtyard(site, "repository", "create", "bad", "--server-pool", "pool", "--path", "/etc/virtyard", "--wait", code=1)
    jobs = [json.loads(line) for line in virtyard(site, "job", "list", "--json").splitlines()]
    failed = next(job for job in jobs if job["title"] == "Create Repository" and job["state"] == "JOB_STATE_FAILED")
    story = virtyard(site, "job", "transcript", failed["name"])
    assert missing not in story
    for words in ("asked for by user/admin", "step 1: Lay out the folder", "failed", "event JOB_FAILED", "error:"):
        assert words in story, words
    told = json.loads(virtyard(site, "job", "transcript", failed["name"], "--json"))
    assert [job["name"] for job in told["jobs"]] == [failed["name"]]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["virtual-m"], ["virtual-machine"]),
        (["vm", "re"], ["rename", "restart"]),
        (["vm", "start", "w"], ["web"]),
        (["vm", "start", "--ser"], ["--server"]),
        (["vm", "start", "web", "--server", ""], ["s1"]),
        (["disk", "create", "x", "--allocation", "f"], ["full"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
    ],
)
def test_the_next_word_is_completed(site: Site, words: list[str], found: list[str]) -> None:
    """Nouns, verbs, flags, words of an enum, and the names of objects that are there."""
    assert virtyard(site, "complete", *words).split() == found


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_a_shell_takes_its_script(site: Site, shell: str) -> None:
    """The real shell loads the script; bash also completes by it."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = virtyard(site, "completion", shell)
    more = 'COMP_WORDS=(virtyard vm start w); COMP_CWORD=3; _virtyard; echo "${COMPREPLY[@]}"'
    load = {"bash": f"{script}\n{more}", "zsh": f"autoload -U compinit; compinit -u; {script}", "fish": script}[shell]
    ended = subprocess.run(
        [shell, "-c", load], env=environment(site), capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert shell != "bash" or ended.stdout.split() == ["web"]


def test_events_are_listed_got_and_counted(site: Site) -> None:
    """A table with the usual columns, the newest first; filters, one event in full, and counts as a table."""
    lines = virtyard(site, "event", "list", "--filter", "object = virtualMachines/web").splitlines()
    assert lines[0].split() == ["NAME", "TYPE", "SEVERITY", "OBJECT", "MESSAGE", "CREATE", "TIME", "COUNT", "OPEN"]
    assert [line.split()[1:3] for line in lines[1:]] == [
        ["MACHINE_STARTED", "informational"],
        ["OBJECT_CHANGED", "informational"],
        ["OBJECT_CREATED", "informational"],
    ]
    shown = virtyard(site, "event", "get", lines[1].split()[0])
    assert "virtualMachines/web runs on servers/s1" in shown
    assert "operations/" in shown
    counted = virtyard(site, "event", "count", "--filter", "object = virtualMachines/web").splitlines()
    assert counted[0].split() == ["TYPE", "SEVERITY", "COUNT"]
    assert [line.split() for line in counted[1:]] == [
        ["MACHINE_STARTED", "informational", "1"],
        ["OBJECT_CHANGED", "informational", "1"],
        ["OBJECT_CREATED", "informational", "1"],
    ]
    assert "no counts" in virtyard(site, "event", "count", "--filter", "severity = CRITICAL")
    as_json = json.loads(virtyard(site, "event", "count", "--filter", "type = MACHINE_STARTED", "--json"))
    assert as_json["counts"] == [{"type": "MACHINE_STARTED", "severity": "SEVERITY_INFORMATIONAL", "count": "1"}]
    assert "there is no field" in virtyard(site, "event", "list", "--filter", "colour = red", code=2)
    told = virtyard(site, "event", "export", "--filter", "object = virtualMachines/web").splitlines()
    assert [json.loads(line)["event"]["name"] for line in told] == [f"events/{line.split()[0]}" for line in lines[1:]]
    assert "no events" in virtyard(site, "event", "list", "--archived")


def test_events_are_watched_as_lines(site: Site) -> None:
    """Each event is a line that says how grave it is, what happened, and to what."""
    told = virtyard(site, "event", "watch", "--filter", "object = virtualMachines/web", "--timeout", "3s").splitlines()
    assert [line.split("  ")[1:3] for line in told] == [
        ["informational", "OBJECT_CREATED on virtualMachines/web: virtualMachines/web was created"],
        ["informational", "OBJECT_CHANGED on virtualMachines/web: virtualMachines/web was changed: server_pool"],
        ["informational", "MACHINE_STARTED on virtualMachines/web: virtualMachines/web runs on servers/s1"],
    ]


def test_a_description_has_the_latest_events(site: Site) -> None:
    """What happened to an object last is the first of its events."""
    told = virtyard(site, "vm", "describe", "web")
    assert "virtualMachines/web runs on servers/s1" in told
    described = json.loads(virtyard(site, "vm", "describe", "web", "--json"))
    assert described["events"][0]["type"] == "MACHINE_STARTED"


def test_a_failure_is_told_in_a_few_lines_and_whole_if_that_is_asked_for(site: Site) -> None:
    """What failed and what to do about it; with --verbose also the job, its object and the step that led to it."""
    site.fail_file.write_text("1/1")
    try:
        short = virtyard(site, "vm", "rename", "idle", "Nobody", "--wait", code=1)
        whole = virtyard(site, "vm", "rename", "idle", "Nobody", "--wait", "--verbose", code=1)
    finally:
        site.fail_file.unlink()
    assert "Rename Virtual Machine: step 1/1 fails" in short
    assert "to do: " in short
    assert "because" not in short
    assert "because jobs/" in whole
    assert "on virtualMachines/idle" in whole
    assert "because step 1, Change the display name (by inventory)" in whole


def test_finished_jobs_are_kept_if_that_is_asked_for(site: Site) -> None:
    """`--on-failure` decides what a failure leaves: the exit code, what is missing, and what is there say so."""
    disks = ("--disk", "repository=shared,size=4M", "--disk", "repository=shared,size=4M")
    words = ("vm", "create", "kept", "--server-pool", "pool", "--memory", "64M", "--cpus", "1", *disks)
    try:
        site.fail_file.write_text("3/1")
        undone = virtyard(site, *words, "--wait", code=1)
        assert "fails, for a test" in undone
        assert "virtualMachines/kept" not in names(site, "vm")
        stopped = virtyard(site, *words, "--on-failure", "stop", "--wait", code=4)
        assert "virtualDisks/kept-disk0: Create Virtual Disk failed: step 3/1 fails, for a test" in stopped
        assert "virtualDisks/kept-disk1: Create Virtual Disk was not done, as jobs/" in stopped
        site.fail_file.unlink()
        virtyard(site, "vm", "delete", "kept", "--wait")
        site.fail_file.write_text("3/1")
        continued = virtyard(site, *words, "--on-failure", "continue", "--wait", code=4)
        assert "kept-disk0" in continued
        assert "kept-disk1" not in continued.split("virtyard: ", 1)[1]
        assert [name for name in names(site, "disk") if "kept" in name] == ["virtualDisks/kept-disk1"]
        operation = json.loads(virtyard(site, "job", "list", "--json").splitlines()[0])["operation"]
        number = operation.partition("/")[2]
        story = virtyard(site, "job", "transcript", f"jobs/{number}-1")
        assert "missing: virtualDisks/kept-disk0: Create Virtual Disk failed" in story
    finally:
        site.fail_file.unlink(missing_ok=True)
    refused = virtyard(site, "vm", "delete", "kept", "--on-failure", "stop", code=2)
    assert "on-failure: stop is not allowed" in refused
    virtyard(site, "vm", "delete", "kept", "--wait")
    late = virtyard(site, "vm", "stop", "web", "--deadline", "2020-01-01T00:00:00Z", code=2)
    assert "has passed" in late
