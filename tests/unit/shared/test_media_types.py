from __future__ import annotations

import gzip
import io
import json
import struct
import wave
import zipfile

import pytest

from callboard_shared.media_types import Sniffer, media_type_of


def wav() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(22_050)
        sound.writeframes(b"\0" * 200)
    return out.getvalue()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "hi")
    return out.getvalue()


def safetensors() -> bytes:
    head = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(head)) + head + b"\0\0\0\0"


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "photo.txt", "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "", "image/jpeg"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "", "image/webp"),
        (wav(), "x.mp3", "audio/wav"),
        (b"ID3\x04\0\0\0\0\0\0\xff\xfb\x90\x64" + b"\0" * 40, "", "audio/mpeg"),
        (b"\xff\xf3\x90\x64" + b"\0" * 40, "", "audio/mpeg"),
        (b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2" + b"\0" * 40, "", "video/mp4"),
        (zipped(), "data.zip", "application/zip"),
        (gzip.compress(b"x", mtime=0), "", "application/gzip"),
        (b"%PDF-1.7\n%\xe2\xe3", "", "application/pdf"),
        (b"%PDF-1.7\nplain", "a.txt", "application/pdf"),
        (b"PAR1" + b"\0" * 20 + b"PAR1", "", "application/vnd.apache.parquet"),
        (b"GGUF\x03\0\0\0" + b"\0" * 20, "", "application/x-gguf"),
        (safetensors(), "model.bin", "application/x-safetensors"),
        (b"SIMPLE  =                    T" + b"\0", "", "image/fits"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.png", "image/svg+xml"),
        (b"<?xml version='1.0'?><svg xmlns='x'/>", "a.png", "image/svg+xml"),
        (b"<!DOCTYPE html><p>hi", "a.txt", "text/html"),
        (b'{"a": 1}', "a.json", "application/json"),
        (b'{"a": 1}', "a", "text/plain"),
        (b"text,label\n", "A.CSV", "text/csv"),
        ("# 제목".encode(), "readme.md", "text/markdown"),
        ("안녕하세요".encode(), "a.txt", "text/plain"),
        (b"BM is a company", "", "text/plain"),
        (b"MZ hello", "", "text/plain"),
        ("안녕".encode("euc-kr"), "a.csv", "application/octet-stream"),
        (b"a,b\n\0\0", "a.csv", "application/octet-stream"),
        (b"", "a.txt", "application/octet-stream"),
        (bytes(range(7, 200)), "a.json", "application/octet-stream"),
    ],
)
def test_a_content_is_what_its_bytes_say(data: bytes, name: str, expected: str) -> None:
    assert media_type_of(data, name) == expected


def test_a_text_is_none_if_it_stops_being_one_after_its_head() -> None:
    sniffer = Sniffer()
    sniffer.feed(b"a,b\n" * 5000)
    sniffer.feed(b"\xff\xfe")
    assert sniffer.media_type("a.csv") == "application/octet-stream"


def test_a_character_may_lie_across_two_chunks() -> None:
    sniffer = Sniffer()
    data = "가나다".encode()
    for byte in data:
        sniffer.feed(bytes([byte]))
    assert sniffer.media_type("a.txt") == "text/plain"


def test_a_text_that_ends_within_a_character_is_none() -> None:
    assert media_type_of("가".encode()[:2], "a.txt") == "application/octet-stream"
