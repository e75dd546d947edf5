"""What a video's first bytes tell: which container it is. Pure Python, so that the gateway can judge too.

mp4 and mov: ISO/IEC 14496-12, 4.3, and QuickTime File Format, "Atoms" · webm: RFC 8794, 11.2.1
"""

from __future__ import annotations

from typing import Literal

from callboard_shared.errors import UnsupportedMedia
from callboard_shared.media_types import HEAD_BYTES, media_type_of
from callboard_shared.pictures import Content

_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"crx ")
"""Pictures in the same boxes."""
_EBML = b"\x1aE\xdf\xa3"


def container_of(content: Content) -> Literal["mov", "matroska"]:
    """FFmpeg's name of the container. ``content`` stands at its beginning afterwards. Raises UnsupportedMedia."""
    content.seek(0)
    head = content.read(HEAD_BYTES)
    content.seek(0)
    if head[4:8] in _BOXES and head[8:12] not in _STILL_BRANDS:
        return "mov"
    if head.startswith(_EBML):
        return "matroska"
    found = media_type_of(head) if head else "empty"
    raise UnsupportedMedia(f"The video is {found}; give an mp4, a webm or a mov.")
