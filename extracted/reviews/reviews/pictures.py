"""Pictures that strangers send: looked at, drawn anew, and only the drawing is kept.

What a file carries beside its pixels (where a photo was taken, a second picture, a script behind the end) does not
survive being drawn. A few kilobytes can claim to be billions of pixels, so the size is read before anything is decoded.
"""

import warnings
from dataclasses import dataclass
from io import BytesIO
from uuid import uuid4

from django.core.files.base import ContentFile
from django.utils.translation import gettext_lazy as _
from PIL import Image, ImageOps

MOST_BYTES = 5 * 1024 * 1024
# What phones take today, with some to spare.
MOST_PIXELS = 60_000_000
# Nobody looks at a review on more than a screen.
LONGEST_SIDE = 1_600
TOO_BIG = _("A photo has at most 5 MB and 60 megapixels.")
NO_PICTURE = _("Send a JPEG, PNG or WebP picture; this file is none, or it is broken.")
SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}


class Refused(Exception):
    """A file is not kept; the message tells the customer why."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    name: str
    content: bytes
    width: int
    height: int

    def file(self):
        return ContentFile(self.content)


def drawn_anew(file) -> Picture:
    """Return the picture in the upload `file` under a name that nobody can guess; raises Refused."""
    if file.size > MOST_BYTES:
        raise Refused(TOO_BIG)
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures, and of odd metadata that is thrown away here.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=list(SUFFIXES)) as image:
                return _drawn(image)
    except Image.DecompressionBombError as exc:
        raise Refused(TOO_BIG) from exc
    except (OSError, SyntaxError, ValueError, EOFError) as exc:
        raise Refused(NO_PICTURE) from exc


def _drawn(image):
    # A JPEG with further pictures behind the first calls itself MPO.
    kind = image.format if image.format in SUFFIXES else "JPEG"
    if image.width * image.height > MOST_PIXELS:
        raise Refused(TOO_BIG)
    image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
    upright = ImageOps.exif_transpose(image)
    upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    bare = _without_anything_else(upright, kind)
    content = BytesIO()
    bare.save(content, kind, quality=85)
    return Picture(
        name=f"{uuid4().hex}.{SUFFIXES[kind]}", content=content.getvalue(), width=bare.width, height=bare.height
    )


def _without_anything_else(image, kind):
    mode = "RGBA" if kind != "JPEG" and image.has_transparency_data else "RGB"
    bare = Image.new(mode, image.size)
    bare.paste(image.convert(mode))
    return bare
