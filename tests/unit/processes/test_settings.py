"""The settings: each is whole, and what the command line, the file and the environment call it is unambiguous."""

from __future__ import annotations

import argparse
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from virtyard.processes import config
from virtyard.processes.agent_settings import AGENT_STATE, RUNTIME
from virtyard.processes.command_line import add_flags, examine, flags_of
from virtyard.processes.control_settings import (
    CONTEXT,
    EVERY,
    LISTEN,
    LOG_LEVEL,
    METRICS,
    PKI,
    PROCESSES,
    STATE,
    TRACES,
)
from virtyard.processes.settings import SETTINGS
from virtyard.runtime.configuration import Configuration
from virtyard.runtime.folders import Folders

QUANTITY = re.compile(r"_(seconds|bytes|entries|days|actions|operations)$|^(cpus|copies_per_server)$")


def configured(process: str, *words: str, **environ: str) -> Configuration:
    """Return the configuration of a process with this command line, in which nothing is wrong."""
    parser = argparse.ArgumentParser()
    add_flags(parser, (process,))
    arguments = parser.parse_args(["--config", "/dev/null", *words])
    configuration, problems = examine(process, arguments, environ)
    assert problems == []
    return configuration


def test_every_setting_is_whole() -> None:
    """Each has a summary, a reason, known readers, and a default unless the agent must be told."""
    for setting in SETTINGS:
        assert setting.summary.endswith("."), setting.name
        assert setting.reason.endswith("."), setting.name
        assert setting.readers, setting.name
        assert set(setting.readers) <= set(PROCESSES), setting.name
        assert set(setting.flagged or ()) <= set(setting.readers), setting.name
        assert not setting.required or setting.name in ("agent.name", "agent.credentials")
        assert (setting.derived is None) == (not setting.derived_text), setting.name


def test_a_quantity_has_its_unit_in_its_name() -> None:
    """Nobody has to guess whether 30 are seconds or minutes."""
    for setting in SETTINGS:
        assert bool(setting.kind.unit) == bool(QUANTITY.search(setting.key)), setting.name


def test_names_flags_and_variables_are_unambiguous() -> None:
    """No two settings share a name or a variable; no process has one flag for two of its settings."""
    for names in ([one.name for one in SETTINGS], [name for one in SETTINGS for name in one.variables]):
        assert [name for name, count in Counter(names).items() if count > 1] == []
    for process in PROCESSES:
        flags = [setting.flag for setting in SETTINGS if setting.has_flag(process)]
        assert [flag for flag, count in Counter(flags).items() if count > 1] == []


def test_every_default_is_allowed() -> None:
    """What is shown as the default can be set."""
    for setting in SETTINGS:
        if setting.default is not None:
            written = setting.written(setting.default)
            assert setting.kind.from_toml(tomllib.loads(f"x = {written}")["x"]) == setting.default, setting.name


def test_flags_and_variables_of_before_keep_working() -> None:
    """The command lines of compose.yaml and the variables of the operations guide mean what they meant."""
    agent = configured(
        "agent",
        *("--name", "s1", "--state", "/s", "--credentials", "/c", "--inventory", "i:1", "--listen", "l:2"),
        *("--advertise", "a:3", "--storage-root", "/r", "--storage-root", "/q", "--driver", "sim"),
        *("--memory-bytes", "5", "--cpus", "6", "--context", "/x"),
    )
    assert len([setting for setting in SETTINGS if agent.found(setting).source.startswith("flag ")]) == 11
    for process in ("up", "inventory", "jobs", "locks"):
        service = configured(process, "--state", "/s", "--pki", "/p", "--listen", "l:1", "--context", "/x")
        told = (service[STATE], service[PKI], service[LISTEN[process]], service[CONTEXT])
        assert told == (Path("/s"), Path("/p"), "l:1", Path("/x"))
    environ = {
        "VIRTYARD_STATE": "/s",
        "VIRTYARD_RUNTIME": "/r",
        "VIRTYARD_CONTEXT": "/x",
        "VIRTYARD_LOG_LEVEL": "DEBUG",
        "VIRTYARD_TRACES": "file:/t",
    }
    agent = configured("agent", "--name", "s1", "--credentials", "/c", **environ)
    assert (agent[STATE], agent[RUNTIME], agent[CONTEXT]) == (Path("/s"), Path("/r"), Path("/x"))
    assert (agent[LOG_LEVEL], agent[TRACES], agent[AGENT_STATE]) == ("debug", "file:/t", Path("/s/agents/s1"))


def test_folders_are_those_of_before_without_any_setting() -> None:
    """An installation that upgrades finds its state, sockets and context where they were."""
    environ = {"HOME": "/home/me", "XDG_RUNTIME_DIR": "/run/user/7", "XDG_CONFIG_HOME": "/conf"}
    agent = configured("agent", "--name", "s1", "--credentials", "/c", **environ)
    state = Folders.find(environ).state
    assert agent[STATE] == state
    assert agent[RUNTIME] == Folders.find(environ, state=state / "agents" / "s1").runtime
    assert agent[CONTEXT] == Path("/conf/virtyard/context.json")
    assert configured("up", **environ)[PKI] == state / "pki"


def test_metrics_are_off_unless_asked_for() -> None:
    """No process opens a second port by itself."""
    for process in EVERY:
        words = ("--name", "s1", "--credentials", "/c") if process == "agent" else ()
        assert configured(process, *words)[METRICS[process]] == ""
        assert configured(process, *words, "--metrics", "127.0.0.1:0")[METRICS[process]] == "127.0.0.1:0"


def test_silence_must_be_longer_than_two_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that loses one report is not declared offline."""
    file = tmp_path / "virtyard.toml"
    file.write_text("[inventory]\nreport_interval_seconds = 30\n")
    assert config.main(["check", "--config", str(file)]) == 1
    assert capsys.readouterr().out == (
        "inventory.silence_seconds: 35 is not allowed; it must be at least twice inventory.report_interval_seconds\n"
    )


def test_check_tells_all_problems_and_nothing_where_nothing_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is 1 with problems and 0 without; typos of variables are told as well."""
    file = tmp_path / "virtyard.toml"
    file.write_text('[agent]\ndrivr = "sim"\ncpus = "x"\n')
    monkeypatch.setenv("VIRTYARD_AGENT_DRIVR", "sim")
    assert config.main(["check", "--config", str(file)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 3
    monkeypatch.delenv("VIRTYARD_AGENT_DRIVR")
    file.write_text('[agent]\ndriver = "sim"\n')
    assert config.main(["check", "--config", str(file)]) == 0
    assert "nothing is wrong" in capsys.readouterr().out
    assert config.main(["check", "agent", "--config", str(file)]) == 1
    assert "agent.credentials: must be set" in capsys.readouterr().out


def test_what_show_prints_is_a_file_that_means_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output of `config show` is TOML: kept as the file, every value is the same and comes from it."""
    monkeypatch.setenv("VIRTYARD_CONFIG", "/dev/null")
    words = ["show", "agent", "--name", "s1", "--credentials", "/c", "--storage-root", "/r", "--cpus", "3"]
    assert config.main(words) == 0
    shown = capsys.readouterr().out
    file = tmp_path / "virtyard.toml"
    file.write_text(shown)
    assert config.main(["show", "agent", "--config", str(file)]) == 0
    again = capsys.readouterr().out

    def values(text: str) -> list[str]:
        return [line.rpartition("#")[0].strip() for line in text.splitlines()[1:]]

    assert values(again) == values(shown)
    assert all(f"# {file}, line " in line for line in again.splitlines()[1:])


def test_a_process_with_problems_does_not_start(capsys: pytest.CaptureFixture[str]) -> None:
    """Every problem is told before anything is opened; the exit code is 2."""
    from virtyard.processes import agent

    with pytest.raises(SystemExit) as ended:
        agent.main(["--config", "/dev/null", "--cpus", "x"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "virtyard agent: --cpus: 'x' is not allowed" in told
    assert "virtyard agent: agent.name: must be set" in told


def test_flags_of_gives_every_value_of_a_repeated_flag() -> None:
    """Nothing that was said on the command line is dropped before it was looked at."""
    parser = argparse.ArgumentParser()
    add_flags(parser, ("agent",))
    arguments = parser.parse_args(["--cpus", "1", "--cpus", "2", "--storage-root", "/a"])
    assert flags_of(arguments) == {"--cpus": ["1", "2"], "--storage-root": ["/a"]}
