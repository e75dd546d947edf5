"""The facade's routes, joined."""

from __future__ import annotations

from fastapi import FastAPI

from callboard_gateway.facade import batches, chat, embeddings, files, models, speech


def install(app: FastAPI) -> None:
    for part in (chat, embeddings, speech, models, files, batches):
        app.include_router(part.router)
