"""Files to upload: pictures, and what pretends to be one."""

import struct
import zlib
from io import BytesIO

from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

PLACE = {271: "Camera & Sons", 34853: {1: "N", 2: (52.0, 31.0, 12.0)}}


def picture(kind="JPEG", size=(60, 40), name=None, mode="RGB", colour="teal", **options):
    content = BytesIO()
    Image.new(mode, size, colour).save(content, kind, **options)
    return upload(content.getvalue(), name or f"photo.{kind.lower()}")


def upload(content, name="photo.jpg"):
    return SimpleUploadedFile(name, content, "application/octet-stream")


def told_of_a_place():
    """Return a JPEG that says where and how it was taken, lies on its side, and hides something behind its end."""
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees
    exif.update(PLACE)
    file = picture(exif=exif, comment=b"<script>alert(1)</script>")
    return upload(file.read() + b"<?php system($_GET[0]);")


def bomb():
    """Return a PNG of a few bytes that claims to be 50,000 by 50,000 pixels."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return upload(b"\x89PNG\r\n\x1a\n" + body, "bomb.png")
