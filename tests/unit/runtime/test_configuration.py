"""The configuration: who goes before whom, and that every mistake is told with its place and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtyard.runtime.configuration import Configuration, Problem, find_file, load, unknown_variables
from virtyard.runtime.setting import Setting, address, choice, decimal, path, paths, text, whole

NAME = Setting(
    section="daemon",
    key="name",
    kind=text("a name in lower case", "[a-z]+"),
    summary="Its name.",
    reason="None.",
    readers=("daemon",),
    flag="--name",
)
LISTEN = Setting(
    section="daemon",
    key="listen",
    kind=address(listening=True),
    summary="Where it listens.",
    reason="None.",
    readers=("daemon",),
    default="127.0.0.1:0",
    flag="--listen",
)
STATE = Setting(
    section="daemon",
    key="state",
    kind=path(),
    summary="Its folder.",
    reason="None.",
    readers=("daemon",),
    derived=lambda reader: Path("/var") / reader[NAME],
    flag="--state",
    aliases=("VIRTYARD_STATE",),
)
ROOTS = Setting(
    section="daemon",
    key="roots",
    kind=paths(),
    summary="Its roots.",
    reason="None.",
    readers=("daemon",),
    default=(),
    flag="--root",
)
CPUS = Setting(
    section="daemon",
    key="cpus",
    kind=whole("processors", least=1, most=64),
    summary="Its processors.",
    reason="None.",
    readers=("daemon",),
    default=2,
    flag="--cpus",
)
PAUSE = Setting(
    section="other",
    key="pause_seconds",
    kind=decimal("seconds", least=0.5),
    summary="Its pause.",
    reason="None.",
    readers=("other",),
    default=1.0,
)
LEVEL = Setting(
    section="log",
    key="level",
    kind=choice("info", "debug"),
    summary="The level.",
    reason="None.",
    readers=("daemon", "other"),
    default="info",
)
ALL = (LISTEN, STATE, ROOTS, NAME, CPUS, PAUSE, LEVEL)


def read(
    content: str | None,
    tmp_path: Path,
    *,
    process: str = "daemon",
    flags: dict[str, list[str]] | None = None,
    environ: dict[str, str] | None = None,
) -> tuple[Configuration, list[Problem]]:
    """Read a configuration whose file has this content."""
    file = None
    if content is not None:
        file = tmp_path / "virtyard.toml"
        file.write_text(content)
    given = {"--name": ["web"]} if flags is None else flags
    return load(ALL, process, flags=given, environ=environ or {}, file=file)


def right(*given: object, **named: object) -> Configuration:
    """Read a configuration in which nothing is wrong."""
    configuration, problems = read(*given, **named)  # type: ignore[arg-type]  # passed on as they came
    assert problems == []
    return configuration


def wrong(*given: object, **named: object) -> list[str]:
    """Return everything that is wrong with a configuration, as a person reads it."""
    return [str(problem) for problem in read(*given, **named)[1]]  # type: ignore[arg-type]  # passed on as they came


def test_flag_goes_before_environment_before_file_before_default(tmp_path: Path) -> None:
    """Proves the precedence by taking the strongest source away, one after the other."""
    file = '[daemon]\nlisten = "file:1"\n'
    environ = {"VIRTYARD_DAEMON_LISTEN": "environ:2"}
    flags = {"--name": ["web"], "--listen": ["flag:3"]}
    for arguments, value, source in (
        ({"flags": flags, "environ": environ}, "flag:3", "flag --listen"),
        ({"environ": environ}, "environ:2", "environment VIRTYARD_DAEMON_LISTEN"),
        ({}, "file:1", f"{tmp_path / 'virtyard.toml'}, line 2"),
    ):
        found = right(file, tmp_path, **arguments).found(LISTEN)
        assert (found.value, found.source) == (value, source)
    found = right(None, tmp_path).found(LISTEN)
    assert (found.value, found.source) == ("127.0.0.1:0", "default")


def test_a_default_may_follow_from_another_setting(tmp_path: Path) -> None:
    """The folder follows from the name, wherever that came from; the last of a repeated flag counts."""
    assert right(None, tmp_path)[STATE] == Path("/var/web")
    assert right(None, tmp_path, flags={"--name": ["web", "db"]})[STATE] == Path("/var/db")


def test_an_older_variable_counts_after_the_one_of_the_setting(tmp_path: Path) -> None:
    """VIRTYARD_STATE keeps working and yields to VIRTYARD_DAEMON_STATE; an empty variable is none."""
    environ = {"VIRTYARD_STATE": "/old"}
    assert right(None, tmp_path, environ=environ).found(STATE).source == "environment VIRTYARD_STATE"
    environ["VIRTYARD_DAEMON_STATE"] = "/new"
    assert right(None, tmp_path, environ=environ)[STATE] == Path("/new")
    assert right(None, tmp_path, environ={"VIRTYARD_STATE": ""})[STATE] == Path("/var/web")


def test_paths_are_expanded_and_those_of_a_file_count_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~` is the home folder; where a daemon is started says nothing about what its file means."""
    monkeypatch.setenv("HOME", "/home/me")
    file = '[daemon]\nstate = "~/state"\nroots = ["disks", "/srv"]\n'
    configuration = right(file, tmp_path)
    assert configuration[STATE] == Path("/home/me/state")
    assert configuration[ROOTS] == (tmp_path / "disks", Path("/srv"))
    environ = {"VIRTYARD_DAEMON_ROOTS": "/a:/b"}
    assert right(file, tmp_path, environ=environ)[ROOTS] == (Path("/a"), Path("/b"))
    flags = {"--name": ["web"], "--root": ["/a:b", "/c"]}
    assert right(file, tmp_path, environ=environ, flags=flags)[ROOTS] == (Path("/a:b"), Path("/c"))


def test_typos_are_told_with_the_nearest_name(tmp_path: Path) -> None:
    """An unknown table, key, or key of another table is never passed over in silence."""
    place = tmp_path / "virtyard.toml"
    assert wrong('[daemon]\nlistn = "a:1"\n', tmp_path) == [
        f"{place}, line 2, [daemon] listn: is no setting; did you mean listen?"
    ]
    assert wrong("\n[deamon]\n", tmp_path) == [f"{place}, line 2, [deamon]: is no table; did you mean [daemon]?"]
    assert wrong('[log]\nlevel = "info"\ncpus = 1\n', tmp_path) == [
        f"{place}, line 3, [log] cpus: is no setting; did you mean [daemon] cpus?"
    ]
    assert wrong("[log]\nxyz = 1\n", tmp_path) == [
        f"{place}, line 2, [log] xyz: is no setting; known in [log] are level"
    ]
    assert wrong('listen = "a:1"\n', tmp_path) == [
        f"{place}, line 1, [listen]: is no table; did you mean [daemon] listen?"
    ]
    assert wrong("log.levle = 1\n", tmp_path) == [f"{place}, line 1, [log] levle: is no setting; did you mean level?"]


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("cpus = 0", "a whole number of processors, 1 to 64"),
        ("cpus = 65", "a whole number of processors, 1 to 64"),
        ("cpus = 2.0", "a whole number of processors, 1 to 64"),
        ("cpus = true", "a whole number of processors, 1 to 64"),
        ('cpus = "2"', "a whole number of processors, 1 to 64"),
        ('listen = "7401"', "host:port or unix:PATH"),
        ('listen = "host:99999"', "host:port or unix:PATH"),
        ("listen = 7401", "host:port or unix:PATH"),
        ('listen = "unix:relative"', "host:port or unix:PATH"),
        ('listen = "a b:1"', "host:port or unix:PATH"),
        ('state = ""', "a path"),
        ("state = 1", "a path"),
        ('roots = "/a"', "a list of paths"),
        ("roots = [1]", "a list of paths"),
        ('name = "Web"', "a name in lower case"),
    ],
)
def test_values_of_another_kind_are_refused_with_what_is_allowed(line: str, allowed: str, tmp_path: Path) -> None:
    """Each refusal names file, line, table and key, shows the value and says what is allowed, with the unit."""
    (told,) = wrong(f"[daemon]\n{line}\n", tmp_path, flags={"--name": ["web"]})
    key = line.partition(" ")[0]
    assert told.startswith(f"{tmp_path / 'virtyard.toml'}, line 2, [daemon] {key}: ")
    assert told.endswith(f" is not allowed; it must be {allowed}")


@pytest.mark.parametrize("value", ["0.4", "-1", "nan", "inf", '"1"', "true"])
def test_seconds_are_finite_numbers_within_their_range(value: str, tmp_path: Path) -> None:
    """What no clock can wait for is refused, also for a process that does not read it."""
    (told,) = wrong(f"[other]\npause_seconds = {value}\n", tmp_path)
    assert told.endswith("it must be a number of seconds, at least 0.5")


def test_flags_and_variables_are_refused_by_their_own_names(tmp_path: Path) -> None:
    """Whoever set it finds it: the flag, or the variable."""
    flags = {"--name": ["web"], "--cpus": ["four"]}
    allowed = "it must be a whole number of processors, 1 to 64"
    assert wrong(None, tmp_path, flags=flags) == [f"--cpus: 'four' is not allowed; {allowed}"]
    assert wrong(None, tmp_path, environ={"VIRTYARD_DAEMON_CPUS": "4.5"}) == [
        f"VIRTYARD_DAEMON_CPUS: '4.5' is not allowed; {allowed}"
    ]
    assert wrong(None, tmp_path, environ={"VIRTYARD_LOG_LEVEL": "loud"}) == [
        "VIRTYARD_LOG_LEVEL: 'loud' is not allowed; it must be one of info, debug"
    ]
    assert right(None, tmp_path, environ={"VIRTYARD_LOG_LEVEL": "DEBUG"})[LEVEL] == "debug"


@pytest.mark.parametrize("value", ["h:0", "[::1]:65535", ":7401", "unix:/run/x.sock", "10.0.0.1:1"])
def test_addresses_of_every_form_are_taken(value: str, tmp_path: Path) -> None:
    """Names, both kinds of IP addresses, every address of the machine, and sockets of this machine."""
    assert right(f'[daemon]\nlisten = "{value}"\n', tmp_path)[LISTEN] == value


def test_addresses_are_as_narrow_as_they_are_declared() -> None:
    """Nobody dials every address of a machine; HTTP has no sockets here."""
    dialled, shown = address(optional=True), address(optional=True, unix=False)
    assert (dialled.from_text(""), dialled.from_text("unix:/x")) == ("", "unix:/x")
    assert (dialled.allowed, shown.allowed) == ('"" or host:port or unix:PATH', '"" or host:port')
    for kind, value in ((dialled, ":7401"), (shown, "unix:/x"), (address(), "")):
        with pytest.raises(ValueError, match=f"^{value}$"):
            kind.from_text(value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """A person mends a file once, not once for each mistake."""
    file = "[daemon]\ncpus = 0\nlistn = 1\n[nothing]\n"
    told = wrong(file, tmp_path, flags={}, environ={"VIRTYARD_LOG_LEVEL": "loud"})
    assert len(told) == 5
    assert "daemon.name: must be set: --name, VIRTYARD_DAEMON_NAME or name in [daemon] of the file" in told


def test_what_must_be_set_is_asked_of_its_readers_alone(tmp_path: Path) -> None:
    """Another process starts without it; a wrong value is one problem, not two."""
    assert wrong(None, tmp_path, flags={}, process="other") == []
    (told,) = wrong(None, tmp_path, flags={"--name": ["Web"]})
    assert told == "--name: 'Web' is not allowed; it must be a name in lower case"


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """Broken TOML says where it breaks; a file that was named and is missing is no empty one."""
    (told,) = wrong("[daemon]\ncpus = = 1\n", tmp_path)
    assert "is not TOML" in told
    assert "line 2" in told
    file = tmp_path / "missing.toml"
    _, (problem,) = load(ALL, "other", flags={}, environ={}, file=file)
    assert str(problem) == f"{file}: cannot be read: No such file or directory"
    file.write_bytes(b"\xff")
    _, (problem,) = load(ALL, "other", flags={}, environ={}, file=file)
    assert str(problem).startswith(f"{file}: cannot be read: ")


def test_the_file_is_the_one_that_is_named_else_the_first_that_is_there(tmp_path: Path) -> None:
    """VIRTYARD_CONFIG goes before the user's own; where there is none, there is none."""
    own = tmp_path / "config" / "virtyard" / "virtyard.toml"
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": "/nowhere"}
    assert find_file(environ, user=1000) != own
    own.parent.mkdir(parents=True)
    own.touch()
    assert find_file(environ, user=1000) == own
    assert find_file({**environ, "VIRTYARD_CONFIG": "/x.toml"}, user=1000) == Path("/x.toml")
    del environ["XDG_CONFIG_HOME"]
    environ["HOME"] = str(tmp_path)
    (tmp_path / ".config").symlink_to(tmp_path / "config")
    assert find_file(environ, user=1000) == tmp_path / ".config" / "virtyard" / "virtyard.toml"


def test_variables_that_are_nearly_a_settings_are_told() -> None:
    """A typo is found; what an orchestrator sets by itself, and what is not ours, is left alone."""
    (problem,) = unknown_variables(ALL, {"VIRTYARD_DAEMON_LISTN": "x", "PATH": "y"})
    assert str(problem) == "VIRTYARD_DAEMON_LISTN: is no setting; did you mean VIRTYARD_DAEMON_LISTEN?"
    others = {"VIRTYARD_JOBS_SERVICE_HOST": "10.0.0.1", "VIRTYARD_KILL_AT": "jobs.C1", "VIRTYARD_CONFIG": "/x"}
    assert unknown_variables(ALL, {**others, "VIRTYARD_DAEMON_LISTEN": "a:1"}) == []


def test_values_are_written_as_the_file_has_them() -> None:
    """What `config show` prints can be read again."""
    assert STATE.written(Path("/a b")) == '"/a b"'
    assert ROOTS.written((Path("/a"), Path("/b"))) == '["/a", "/b"]'
    assert (PAUSE.written(0.5), CPUS.written(3), LISTEN.written('x"')) == ("0.5", "3", '"x\\""')
