"""The default models of the NLP worker."""

from __future__ import annotations

from callboard_nlp.default_models import DEFAULTS
from callboard_shared.jobs import CATALOGUE


def test_the_names_are_those_that_job_types_default_to() -> None:
    packs = {"all-MiniLM-L6-v2"}
    named = {
        one.input.model_fields[field].default
        for one in CATALOGUE
        if one.name.startswith("nlp.")
        for field in one.models
    }
    assert named - packs == {default.name for default in DEFAULTS}
