"""The rule that ties a release of the protos to a line of the changelog."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import release_protos


@pytest.fixture
def changelog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty changelog and no release yet; the image is three bytes."""
    path = tmp_path / "CHANGELOG.md"
    path.write_text("## [Unreleased]\n")
    monkeypatch.setattr(release_protos, "CHANGELOG", path)
    monkeypatch.setattr(release_protos, "RELEASED", tmp_path / "released.binpb")
    monkeypatch.setattr(release_protos, "build_image", lambda: b"new")
    return path


def test_release_without_a_changelog_line_is_refused_and_says_which_line(
    changelog: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written, and the line to write is printed with the image's checksum."""
    assert release_protos.main([]) == 1
    assert not release_protos.RELEASED.exists()
    assert f"- Protos {release_protos.name_image(b'new')}: " in capsys.readouterr().err


def test_release_with_a_changelog_line_renews_the_image(changelog: Path) -> None:
    """With the line in place the image is written, and the check is content with it."""
    changelog.write_text(f"- Protos {release_protos.name_image(b'new')}: the first public contract.\n")
    assert release_protos.main([]) == 0
    assert release_protos.RELEASED.read_bytes() == b"new"
    assert release_protos.main(["--check"]) == 0


def test_check_refuses_an_image_that_the_changelog_does_not_name(changelog: Path) -> None:
    """An image that was put there by hand fails the check."""
    release_protos.RELEASED.write_bytes(b"by hand")
    assert release_protos.main(["--check"]) == 1
