"""Draw the photos that invented customers sent with their reviews."""

from collections.abc import Iterator
from functools import cache
from io import BytesIO

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image, ImageDraw

PHOTO_COLUMNS = ["id", "review_id", "image", "width", "height", "position"]
ONE_IN = 200
WIDTH, HEIGHT = 640, 480
COLOURS = ["#7a8b6f", "#c9b18f", "#3f4b6b", "#9c4a2f", "#4a4a4a", "#b8a77e"]


def photos(review_count: int) -> Iterator[tuple]:
    """Yield a photo for some of the reviews, and put its file where it belongs."""
    for number, review in enumerate(range(ONE_IN // 2, review_count + 1, ONE_IN), start=1):
        yield number, review, _kept(number), WIDTH, HEIGHT, 0


def _kept(number: int) -> str:
    name = f"reviews/sent-in-{number}.jpg"
    if not default_storage.exists(name):
        default_storage.save(name, ContentFile(_drawn(number % len(COLOURS))))
    return name


@cache
def _drawn(motif: int) -> bytes:
    image = Image.new("RGB", (WIDTH, HEIGHT), "#efe9df")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, HEIGHT * 2 // 3, WIDTH, HEIGHT), fill="#d8cfc0")
    draw.ellipse((200, 110 + 12 * motif, 440, 350 + 12 * motif), fill=COLOURS[motif])
    content = BytesIO()
    image.save(content, "JPEG", quality=80)
    return content.getvalue()
