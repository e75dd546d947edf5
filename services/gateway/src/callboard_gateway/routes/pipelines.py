"""``/v1/pipelines``: jobs that take what others gave, submitted, read and canceled as one."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, Response

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.cursors import cursor_of, position_of
from callboard_gateway.pipeline_desk import PipelineDesk
from callboard_gateway.pipeline_submission import MOST_STEPS, PipelineWebhook, StepOptions
from callboard_gateway.routes.parameters import Cursor, IdempotencyKey, Limit, Prefer, Wait
from callboard_gateway.routes.submit import hang_up
from callboard_gateway.routes.wholes import submit_whole, whole_response
from callboard_gateway.schemas import PipelineList, PipelineObject, problems
from callboard_shared.jobs import CATALOGUE
from callboard_shared.pipelines.references import STEP_NAME

router = APIRouter(prefix="/v1/pipelines", tags=["pipelines"])
ReadAccess = Annotated[Authenticated, Depends(require("jobs:read"))]
WriteAccess = Annotated[Authenticated, Depends(require("jobs:write"))]

EXAMPLE = {
    "steps": {
        "say": {
            "type": "llm.chat",
            "input": {
                "messages": [{"role": "user", "content": "When does a train leave?"}],
                "max_tokens": 32,
            },
        },
        "voice": {"type": "tts.speech", "input": {"text": "${say.output.message.content}"}},
    }
}


def request_body() -> dict[str, Any]:
    """What the OpenAPI document says of a submission; made when that is asked for, since it takes its time."""
    schema = _schema()
    return {"required": True, "content": {"application/json": {"schema": schema, "example": EXAMPLE}}}


def _schema() -> dict[str, Any]:
    options = StepOptions.model_json_schema()
    options.pop("$defs", None)
    webhook = PipelineWebhook.model_json_schema()
    step_webhook = StepOptions.model_json_schema()["$defs"]["Webhook"]
    options["properties"]["webhook"] = {"anyOf": [step_webhook, {"type": "null"}], "default": None}
    step = {
        **options,
        "title": "Step",
        "description": "A job. Texts in its input may refer: `${step.output.field}`; `$${` is a literal `${`.",
        "required": ["type", "input"],
        "properties": {
            "type": {"type": "string", "enum": CATALOGUE.names},
            "input": {"description": "As the type's, when the references in it are resolved."},
            **options["properties"],
        },
    }
    metadata = options["properties"]["metadata"]
    return {
        "title": "PipelineSubmission",
        "description": "Jobs that take what others gave, as one.",
        "type": "object",
        "required": ["steps"],
        "additionalProperties": False,
        "properties": {
            "steps": {
                "type": "object",
                "description": "Jobs by name. References, and `after`, make the order.",
                "minProperties": 1,
                "maxProperties": MOST_STEPS,
                "propertyNames": {"pattern": f"^{STEP_NAME}$"},
                "additionalProperties": step,
            },
            "webhook": {"anyOf": [webhook, {"type": "null"}], "default": None},
            "metadata": metadata,
        },
        "examples": [EXAMPLE],
    }


@router.post(
    "",
    status_code=202,
    response_model=PipelineObject,
    responses={
        200: {"model": PipelineObject, "description": "It has ended while the request waited."},
        202: {"description": "All steps are accepted."},
        **problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
    },
    operation_id="submit_pipeline",
    summary="Submit jobs that take what others gave",
)
async def submit(
    request: Request,
    caller: WriteAccess,
    prefer: Prefer = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """All steps are accepted, or none. Each starts when those have succeeded that it refers to, or names in `after`."""
    return await submit_whole(request, _desk(request), caller.owner, prefer, router.prefix)


@router.get(
    "", response_model=PipelineList, responses=problems(401, 403, 422, 429, 503),
    operation_id="list_pipelines", summary="List pipelines, newest first",
)  # fmt: skip
async def list_(
    request: Request,
    caller: ReadAccess,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """The key's, each step without its job."""
    found, following = await _desk(request).page(caller.owner, limit, position_of(cursor, "pipe"))
    content = {"data": [one.view(whole=False) for one in found], "next_cursor": cursor_of(following)}
    return Response(orjson.dumps(content), media_type="application/json")


@router.get(
    "/{pipeline_id}", response_model=PipelineObject, responses=problems(401, 403, 404, 422, 429, 503),
    operation_id="get_pipeline", summary="Read a pipeline with its jobs, or wait for it",
)  # fmt: skip
async def get(
    request: Request,
    pipeline_id: str,
    caller: ReadAccess,
    wait: Wait = 0,
) -> Response:
    desk = _desk(request)
    if wait:
        return whole_response(await desk.wait(caller.owner, pipeline_id, wait, hang_up(request.receive)))
    return whole_response(await desk.find(caller.owner, pipeline_id))


@router.post(
    "/{pipeline_id}/cancel",
    status_code=202,
    response_model=PipelineObject,
    responses={
        200: {"model": PipelineObject, "description": "All its jobs waited, and it is `canceled`."},
        202: {"description": "Something of it runs; it is `canceling` and ends soon."},
        **problems(401, 403, 404, 409, 429, 503),
    },
    operation_id="cancel_pipeline",
    summary="Cancel what has not ended of a pipeline",
)
async def cancel(request: Request, pipeline_id: str, caller: WriteAccess) -> Response:
    pipeline = await _desk(request).cancel(caller.owner, pipeline_id)
    return whole_response(pipeline, 200 if pipeline.ended else 202)


@router.delete(
    "/{pipeline_id}", status_code=204, responses=problems(401, 403, 404, 409, 429, 503),
    operation_id="delete_pipeline", summary="Remove an ended pipeline with its jobs and files",
)  # fmt: skip
async def delete(request: Request, pipeline_id: str, caller: WriteAccess) -> Response:
    await _desk(request).delete(caller.owner, pipeline_id)
    return Response(status_code=204)


def _desk(request: Request) -> PipelineDesk:
    desk: PipelineDesk = request.app.state.pipelines
    return desk
