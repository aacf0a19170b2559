"""Help texts at 80 columns, and the words that find no verb."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from virtyard_client.command import help as help_text
from virtyard_client.command.flags import flags_of
from virtyard_client.command.options import options_of
from virtyard_client.command.verbs import Verbs
from virtyard_client.main import main
from virtyard_client.schema.schema import Schema


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_no_help_is_wider_than_the_terminal(schema: Schema) -> None:
    """Every help of every verb keeps to 80 columns."""
    verbs = Verbs(schema.methods())
    texts = [help_text.root(verbs, [], 80), *(help_text.noun(verbs, noun, 80) for noun in verbs.nouns())]
    texts += [
        help_text.verb(schema, method, flags_of(schema, method.request), options_of(method), 80)
        for method in schema.methods()
    ]
    assert max(len(line) for text in texts for line in text.splitlines()) <= 80


def test_help_of_a_verb_has_comments_keys_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """The comments of the proto are the help, down to the keys of a disk."""
    assert main(["vm", "create", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Usage: virtyard virtual-machine create VIRTUAL-MACHINE-ID [FLAGS]"
    assert "  --memory SIZE             The memory that the guest gets, in bytes; a multiple" in lines
    assert "    repository=NAME         Required. The repository that is to hold the image." in lines
    assert "    allocation=sparse|full  Whether the image is to be written in full." in lines
    assert lines.index("Advanced:") > lines.index("Flags:")
    assert "  4  partial: ended with something missing or left behind" in lines


def test_help_of_all_lists_nouns_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """The first help names every noun with its aliases and verbs."""
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^  virtual-machine \(vm\) +create, delete, describe, ", out, re.MULTILINE)
    assert "  operation             abort, list, preview, show, wait, watch" in out


def test_help_of_a_noun_says_what_its_verbs_do(capsys: pytest.CaptureFixture[str]) -> None:
    """An alias shows the same as its noun."""
    assert main(["vm", "--help"]) == 0
    assert re.search(
        r"^  kill +Kills a running virtual machine without asking its guest\.$", capsys.readouterr().out, re.MULTILINE
    )


def test_noun_without_a_verb_is_help_and_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A noun alone shows its verbs, and the exit code says that nothing was done."""
    assert main(["vm"]) == 2
    assert "Verbs:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["vmm", "list"], "'vmm' is no command; did you mean vm?"),
        (["vm", "craete"], "vm has no verb 'craete'; did you mean create?"),
        (["vm", "list", "--limit", "x", "--timeout", "soon"], "--timeout takes a span of time"),
    ],
)
def test_unknown_words_are_refused_with_a_hint(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    """What is not known is named, with the nearest that is."""
    assert main(words) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_help_loads_neither_grpc_nor_rich() -> None:
    """A help text is quick because what it does not need is not loaded."""
    code = (
        "import sys; from virtyard_client.main import main; main(['vm', 'create', '--help']); "
        "loaded = {'grpc', 'rich', 'asyncio', 'virtyard.kernel'} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_client_imports_nothing_of_virtyard_but_its_api() -> None:
    """The whole client runs without any module of the services."""
    code = (
        "import pkgutil, importlib, sys, virtyard_client\n"
        "for module in pkgutil.walk_packages(virtyard_client.__path__, 'virtyard_client.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "own = {name for name in sys.modules if name.startswith('virtyard.') and not name.startswith('virtyard.api')}\n"
        "assert not own, own"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
