"""Ids of what may be made twice."""

from __future__ import annotations

from callboard_shared.ids import derived_id, is_id, new_id


def test_the_same_parts_give_the_same_id_and_others_another() -> None:
    one = derived_id("whd", 1_800_000_000_000, "evt_1", "whe_1")
    assert one == derived_id("whd", 1_800_000_000_000, "evt_1", "whe_1")
    assert len({one, derived_id("whd", 1_800_000_000_000, "evt_1", "whe_2"), derived_id("whd", 1, "evt_1", "whe_1"),
                derived_id("whd", 1_800_000_000_000, "evt_1whe_1")}) == 4  # fmt: skip


def test_they_have_the_form_of_ids_and_sort_by_their_time() -> None:
    ids = [derived_id("whd", ms, "x") for ms in (0, 1, 1_700_000_000_000, 1_800_000_000_000, 2**48 - 1)]
    assert ids == sorted(ids) and all(is_id(one, "whd") for one in ids)
    assert ids[2] < new_id("whd") < ids[4]
