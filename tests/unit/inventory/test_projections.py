"""The table of projections names fields and relations that exist."""

from __future__ import annotations

import pytest

from virtyard.inventory.model import etag_of
from virtyard.inventory.projections import PROJECTIONS, Projection, Shape, derived_fields
from virtyard.kernel.names import kinds
from virtyard.kernel.relations import reference_fields


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda one: f"{one.kind}.{one.field}")
def test_projection_fits_the_protos(projection: Projection) -> None:
    """What is shown exists on the target and is stored by the source, and nowhere else."""
    shown = kinds()[projection.kind].message.DESCRIPTOR.fields_by_name[projection.field]
    assert shown.is_repeated is (projection.shape is Shape.LIST)
    assert projection.via in reference_fields(projection.source)
    assert projection.field in derived_fields(projection.kind)
    assert projection.field not in reference_fields(projection.kind)


def test_etag_differs_with_every_stored_change() -> None:
    """Neither another generation, nor another report, nor another object has the same etag."""
    etags = {etag_of(uid, generation, revision) for uid in "ab" for generation in (1, 2) for revision in (0, 1, 12)}
    assert len(etags) == 12
