"""What the torture's checker lets stand, as people have accepted it: by uids as the system writes them."""

from __future__ import annotations

import uuid

from tests.torture.residue import _UID


def test_uids_are_known_in_both_ways_of_writing() -> None:
    """Those of objects have no dashes, marks have some; a longer number is neither."""
    one = uuid.uuid4()
    assert _UID.findall(f'uid: "{one.hex}" path: "/srv/shared/{one.hex}.img" mark: "{one}"') == [
        one.hex,
        one.hex,
        str(one),
    ]
    assert _UID.findall(f"sha256: {one.hex}{one.hex}") == []
