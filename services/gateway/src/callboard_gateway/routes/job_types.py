"""``GET /v1/job-types``: what can be submitted, as it was declared."""

from __future__ import annotations

import difflib
from functools import cache
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Response

from callboard_gateway.auth import require
from callboard_gateway.schemas import JobTypeList, JobTypeObject, problems
from callboard_shared.errors import NotFound
from callboard_shared.jobs import CATALOGUE

router = APIRouter(prefix="/v1/job-types", tags=["job types"], dependencies=[Depends(require("jobs:read"))])


@cache
def described(name: str) -> dict[str, Any]:
    """The entry of a type; making the schemas takes milliseconds, so they are made once."""
    job_type = CATALOGUE.get(name)
    if job_type is None:
        close = difflib.get_close_matches(name, CATALOGUE.names, n=1)
        guess = f" Did you mean '{close[0]}'?" if close else ""
        raise NotFound(f"There is no such job type.{guess} There are: {', '.join(CATALOGUE.names)}.")
    return job_type.describe()


@router.get(
    "", response_model=JobTypeList, responses=problems(401, 403, 429, 503), operation_id="list_job_types",
    summary="List the job types",
)  # fmt: skip
async def list_() -> Response:
    content = {"data": [described(name) for name in CATALOGUE.names], "next_cursor": None}
    return Response(orjson.dumps(content), media_type="application/json")


@router.get(
    "/{name}", response_model=JobTypeObject, responses=problems(401, 403, 404, 429, 503), operation_id="get_job_type",
    summary="Read one job type",
)  # fmt: skip
async def get(name: Annotated[str, "for example nlp.embed"]) -> Response:
    return Response(orjson.dumps(described(name)), media_type="application/json")
