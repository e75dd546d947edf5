"""The form of an upload: what it may hold, and how its file goes into the store as it comes."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack

from callboard_gateway.multipart import PartBegin, PartData, PartEnd
from callboard_shared.errors import Invalid
from callboard_shared.files import AsyncDraft, AsyncFiles, FileRecord

MAX_PURPOSE = 64


class UploadForm:
    """The form of an upload: one part ``file``, and perhaps one ``purpose``."""

    def __init__(self, files: AsyncFiles, owner: str, limit: int, stack: AsyncExitStack) -> None:
        self._files, self._owner, self._limit, self._stack = files, owner, limit, stack
        self._draft: AsyncDraft | None = None
        self._purpose: bytearray | None = None
        self._part = ""

    async def take(self, event: PartBegin | PartData | PartEnd) -> None:
        match event:
            case PartBegin():
                await self._begin(event)
            case PartData() if self._part == "file" and self._draft is not None:
                await self._draft.write(event.data)
            case PartData() if self._purpose is not None:
                self._purpose += event.data
                if len(self._purpose) > MAX_PURPOSE:
                    raise _invalid("purpose", f"has more than {MAX_PURPOSE} characters")
            case _:
                self._part = ""

    async def finish(self) -> FileRecord:
        if self._draft is None:
            raise _invalid("file", "is missing: send the content in a part of this name")
        return await self._draft.finish(purpose=_purpose(self._purpose))

    async def _begin(self, part: PartBegin) -> None:
        self._part = part.name
        if part.name == "file" and self._draft is None:
            if part.filename is None:
                raise _invalid("file", "is a plain field: send it as a file, with a file name")
            name = checked_name(part.filename)
            draft = self._files.draft(self._owner, name, limit=self._limit)
            self._draft = await self._stack.enter_async_context(draft)
        elif part.name == "purpose" and self._purpose is None:
            self._purpose = bytearray()
        elif part.name in ("file", "purpose"):
            raise _invalid(part.name, "is given twice")
        else:
            raise _invalid(part.name[:80], "is unknown: the form has 'file' and 'purpose'")


def checked_name(name: str) -> str:
    """Refuse names that try to be something else; plain folders before the name are dropped later."""
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise _invalid("file", "has a name with control characters")
    if ".." in re.split(r"[/\\]", name):
        raise _invalid("file", "has a name that climbs out of its folder ('..')")
    return name


def _purpose(value: bytearray | None) -> str | None:
    try:
        return checked_purpose(value.decode() if value else None)
    except UnicodeDecodeError:
        raise _invalid("purpose", "is not UTF-8") from None


def checked_purpose(text: str | None) -> str | None:
    if text and len(text) > MAX_PURPOSE:
        raise _invalid("purpose", f"has more than {MAX_PURPOSE} characters")
    if text and not text.isprintable():
        raise _invalid("purpose", "has control characters")
    return text or None


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(
        f"The part '{field}' {message}.", errors=[{"field": field, "message": message, "code": "form"}]
    )
