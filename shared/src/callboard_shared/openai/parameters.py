"""Parameters of OpenAI's API that are taken only at their default, or change nothing here."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from callboard_shared.errors import Invalid


class Parameters(BaseModel):
    """Base of request bodies. Names that OpenAI has and that change no answer are left out of account."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    user: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    service_tier: Any = None
    store: Any = None
    metadata: Any = None


def only_default(value: BaseModel, **defaults: Any) -> None:
    """Raises Invalid for a parameter that is given and would have to do something that is not done here."""
    for name, default in defaults.items():
        given = getattr(value, name)
        if given is not None and given != default:
            message = (
                f"only {default!r} is supported here" if default is not None else "is not supported here"
            )
            fault = {"field": name, "message": message, "code": "unsupported_parameter"}
            raise Invalid(f"{name}: {message}; leave it out.", code="unsupported-parameter", errors=[fault])
