"""Writes of reviews, and every way in which one is refused; each begins with the rows of ``reviewed``."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Final

from strangler.regression.case import Body, Case, File, Form, Json, Multipart, Via
from tests.fixtures.reviewed import ANNS, BARE, BOBS, CUP, FULL, GONE, HIDDEN, OFF_THE_SHELF, PLATE, WITHDRAWN

REVIEWS: Final = "/api/reviews/"
OF_BARE: Final = f"/api/catalog/products/{BARE}/reviews/"
NOBODY: Final = None
MAY_BE: Final = (NOBODY, "ann", "bob", "admin")
OF_THE_MOMENT: Final = {
    "$.created_at": "the moment of the write",
    "$.photos[*].image": "a name that nobody can guess",
    "$.image": "a name that nobody can guess",
}
OF_A_PAGE: Final = {
    "html input[name=csrfmiddlewaretoken]@value": "masked anew in each answer",
    "set-cookie:csrftoken": "its end is counted from the moment of the answer",
    "set-cookie:messages": "signed with the moment of the answer",
}
# Of somebody who is not logged in, and whose browser was given a token.
GUARDED: Final = {"Cookie": f"csrftoken={'x' * 32}", "X-CSRFToken": "x" * 32}
MEGABYTE: Final = 1024 * 1024


def _png(width: int = 3, height: int = 2) -> bytes:
    """Return a grey picture, made of nothing but what the format asks for."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + b"\x80" * width for _ in range(height)))
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


PICTURE: Final = File(name="photo.png", content=_png(), media_type="image/png")
LARGE: Final = File(name="large.png", content=_png(2000, 1000))
BROKEN: Final = File(name="photo.jpg", content=b"\xff\xd8\xff\xe0 and no more", media_type="image/jpeg")
NONE: Final = File(name="photo.png", content=b"")
TOO_BIG: Final = File(name="photo.png", content=_png() + b"\0" * (5 * MEGABYTE))


def _written(**changed: Any) -> dict[str, Any]:
    return {"product": BARE, "rating": 5, "title": "Lovely", "body": "Für jeden Tag.", **changed}


def _case(method: str, target: str, who: str | None, body: Body | None = None, **more: Any) -> Case:
    return Case(method=method, target=target, as_user=who, body=body, **{"exempt": OF_THE_MOMENT, **more})


def _created() -> Iterator[Case]:
    for target, who, via in product((REVIEWS, OF_BARE), MAY_BE, Via):
        yield _case("POST", target, who, Json(_written()), via=via)
    yield _case("POST", REVIEWS, "ann", Json(_written(product=CUP)))
    yield _case("POST", REVIEWS, "bob", Json(_written(product=PLATE)))
    yield _case("POST", OF_BARE, "ann", Json(_written(product=CUP)))
    yield _case("POST", f"/api/catalog/products/{CUP}/reviews/", "ann", Json({"rating": 1, "title": "x"}))
    for number in (GONE, 0, 999_999):
        yield _case("POST", f"/api/catalog/products/{number}/reviews/", "ann", Json({"rating": 1, "title": "x"}))
    fields = [(name, str(value)) for name, value in _written().items()]
    yield _case("POST", REVIEWS, "ann", Form(fields))
    yield _case("POST", REVIEWS, "ann", Multipart(fields))


def _in_versions() -> Iterator[Case]:
    for version in ("1", "2", "3"):
        headers = {"Api-Version": version}
        for method, target, body in (
            ("POST", REVIEWS, Json(_written())),
            ("POST", OF_BARE, Json(_written())),
            ("PATCH", f"{REVIEWS}{ANNS}/", Json({"rating": 1})),
            ("DELETE", f"{REVIEWS}{ANNS}/", None),
            ("POST", f"{REVIEWS}{ANNS}/photos/", Multipart({"image": PICTURE})),
            ("POST", f"{REVIEWS}{BOBS}/vote/", Json({"helpful": True})),
            ("DELETE", f"{REVIEWS}{BOBS}/vote/", None),
        ):
            yield _case(method, target, "ann", body, headers=headers)


def _refused_fields() -> Iterator[Case]:
    wrong: dict[str, tuple[Any, ...]] = {
        "product": (0, GONE, "x", None, "", 1.5, True, [BARE], str(BARE), 10**30),
        "rating": (0, 6, -1, "x", None, "", 4.5, "4", True, [], "5.0", 10**30),
        "title": ("", "  ", None, "x" * 120, "x" * 121, 5, True, [], {}, "a\0b", "  trimmed  ", "😀 ü \u2028"),
        "body": ("", None, "x" * 4000, "x" * 4001, 5, [], "a\0b", "line\r\nline"),
        "images": ([], None, "x", ["x"], {}),
        "author": ("bob", None),
        "id": (1,),
        "helpful": (99,),
        "photos": ([{"id": 1}],),
        "created_at": ("1999-01-01T00:00:00Z",),
        "is_published": (False,),
        "unknown": ("x",),
    }
    for name, values in wrong.items():
        for value in values:
            yield _case("POST", REVIEWS, "ann", Json(_written(**{name: value})))
    for name in ("product", "rating", "title", "body"):
        yield _case("POST", REVIEWS, "ann", Json({key: value for key, value in _written().items() if key != name}))
    yield _case("POST", REVIEWS, "ann", Json({"product": 0, "rating": 6, "title": "", "body": "x" * 4001}))


def _refused_bodies() -> Iterator[Case]:
    for media_type, body in (
        ("application/json", b""), ("application/json", b"{"), ("application/json", b"[]"), ("application/json", b"5"),
        ("application/json", b"null"), ("application/json", b'{"rating": NaN}'), ("application/json", b"\xff"),
        ("application/json; charset=latin-1", '{"title": "ü"}'.encode("latin-1")), ("text/xml", b"<a/>"), ("", b"{}"),
        ("application/octet-stream", b"{}"), ("multipart/form-data", b"x"), ("multipart/form-data; boundary=x", b"x"),
        ("application/x-www-form-urlencoded", b"title=%FF&rating=5"), ("nonsense", b"{}"),
    ):  # fmt: skip
        for who in (NOBODY, "ann"):
            yield _case("POST", REVIEWS, who, body, headers={"Content-Type": media_type})


def _forged() -> Iterator[Case]:
    for token in ("", "x" * 32, "wrong"):
        headers = {"X-CSRFToken": token}
        yield _case("POST", REVIEWS, "ann", Json(_written()), headers=headers)
        yield _case("POST", OF_BARE, "ann", Json(_written()), headers=headers)
        yield _case("DELETE", f"{REVIEWS}{BOBS}/vote/", "ann", headers=headers)
        yield _case("PATCH", f"{REVIEWS}{ANNS}/", "ann", Json({"rating": 1}), headers=headers)
        yield _case("DELETE", f"{REVIEWS}{ANNS}/", "ann", headers=headers)
        yield _case("POST", f"{REVIEWS}{BOBS}/vote/", "ann", Json({"helpful": True}), headers=headers)
        yield _case("POST", "/en/reviews/write/reviewed-bare/", "ann", Form({"rating": "4"}), headers=headers)
    for origin in ("https://elsewhere.example", "null", "http://localhost:8000"):
        yield _case("POST", REVIEWS, "ann", Json(_written()), headers={"Origin": origin})
    for said in ("Token 0123456789abcdef", "Token", "Basic eDp5"):
        yield _case("POST", REVIEWS, NOBODY, Json(_written()), headers={"Authorization": said})


def _changed() -> Iterator[Case]:
    for who, via in product(MAY_BE, Via):
        yield _case("PATCH", f"{REVIEWS}{ANNS}/", who, Json({"rating": 1, "title": "Changed"}), via=via)
    changes: tuple[dict[str, Any], ...] = (
        {}, {"rating": 6}, {"rating": None}, {"title": ""}, {"product": CUP}, {"product": PLATE}, {"product": GONE},
        {"author": "bob"}, {"created_at": "1999-01-01T00:00:00Z"}, {"helpful": 9}, {"photos": []}, {"images": []},
        {"body": "x" * 4001}, {"title": "ü\u2028😀"},
    )  # fmt: skip
    for change in changes:
        yield _case("PATCH", f"{REVIEWS}{ANNS}/", "ann", Json(change))
    yield _case("PATCH", f"{REVIEWS}{ANNS}/", "ann", Multipart([("title", "x"), ("images", PICTURE)]))
    yield _case("PATCH", f"{REVIEWS}{ANNS}/", "ann", Form({"title": "By a form"}))
    for number in (HIDDEN, WITHDRAWN, OFF_THE_SHELF, 0):
        yield _case("PATCH", f"{REVIEWS}{number}/", "ann", Json({"rating": 1}))
        yield _case("PATCH", f"{REVIEWS}{number}/", NOBODY, Json({"rating": 1}))


def _deleted() -> Iterator[Case]:
    for who, via in product(MAY_BE, Via):
        yield _case("DELETE", f"{REVIEWS}{ANNS}/", who, via=via)
    for number, who in product((HIDDEN, WITHDRAWN, OFF_THE_SHELF, 0), ("ann", "admin")):
        yield _case("DELETE", f"{REVIEWS}{number}/", who)


def _photographed() -> Iterator[Case]:
    photos = f"{REVIEWS}{ANNS}/photos/"
    for who, via in product(MAY_BE, Via):
        yield _case("POST", photos, who, Multipart({"image": PICTURE}), via=via)
    for image in (LARGE, BROKEN, NONE, TOO_BIG, "words"):
        yield _case("POST", photos, "ann", Multipart({"image": image}))
    for body in (Json({}), Json({"image": "x"}), Form({"image": "x"}), Multipart({"other": PICTURE})):
        yield _case("POST", photos, "ann", body)
    yield _case("POST", photos, "ann", b"<a/>", headers={"Content-Type": "text/xml"})
    yield _case("POST", f"{REVIEWS}{FULL}/photos/", "ann", Multipart({"image": PICTURE}))
    for number in (HIDDEN, WITHDRAWN, OFF_THE_SHELF, 0):
        yield _case("POST", f"{REVIEWS}{number}/photos/", "ann", Multipart({"image": PICTURE}))
    words: list[tuple[str, str | File]] = [(name, str(value)) for name, value in _written().items()]
    for images in ([PICTURE], [PICTURE, LARGE], [PICTURE] * 4, [PICTURE] * 5, [PICTURE, BROKEN], [NONE], [TOO_BIG]):
        yield _case("POST", REVIEWS, "ann", Multipart([*words, *_files("images", images)]))
    yield _case("POST", OF_BARE, "ann", Multipart([*words, ("images", PICTURE)]))


def _files(name: str, files: Sequence[File]) -> list[tuple[str, File]]:
    return [(name, each) for each in files]


def _voted() -> Iterator[Case]:
    for who, helpful, via in product(MAY_BE, (True, False), Via):
        yield _case("POST", f"{REVIEWS}{ANNS}/vote/", who, Json({"helpful": helpful}), via=via)
    values: tuple[Any, ...] = (None, "maybe", "", "true", 1, 2, [], {})
    for value in values:
        yield _case("POST", f"{REVIEWS}{BOBS}/vote/", "ann", Json({"helpful": value}))
    for body in (Json({}), Form({"helpful": "on"}), Form({}), Json([])):
        yield _case("POST", f"{REVIEWS}{BOBS}/vote/", "ann", body)
    for who, number in product(MAY_BE, (ANNS, BOBS, HIDDEN, WITHDRAWN, 0)):
        yield _case("DELETE", f"{REVIEWS}{number}/vote/", who)
    for number in (HIDDEN, WITHDRAWN, OFF_THE_SHELF, 0):
        yield _case("POST", f"{REVIEWS}{number}/vote/", "bob", Json({"helpful": True}))


def _by_forms() -> Iterator[Case]:
    words = {"rating": "4", "title": "Good", "body": "Every day."}
    for path in ("write/reviewed-bare", f"delete/{ANNS}", f"vote/{ANNS}", f"delete/{HIDDEN}", f"vote/{HIDDEN}"):
        for language in ("en", "de"):
            yield replace(_page(path, NOBODY, Form(words), language), headers=GUARDED)
    for slug, who in product(("bare", "cup", "plate", "gone"), MAY_BE):
        yield _page(f"write/reviewed-{slug}", who, Form(words))
    for change in ({"rating": "9"}, {"rating": ""}, {"title": ""}, {"title": "x" * 121}, {"body": "x" * 4001}):
        for language in ("en", "de"):
            yield _page("write/reviewed-bare", "ann", Form({**words, **change}), language)
    for photos in ([PICTURE], [PICTURE] * 4, [PICTURE] * 5, [BROKEN], [NONE], [TOO_BIG], [PICTURE, BROKEN]):
        yield _page("write/reviewed-bare", "ann", Multipart([*words.items(), *_files("photos", photos)]), "de")
    yield _page("write/nothing", "ann", Form(words))
    for who, number in product(MAY_BE, (ANNS, HIDDEN, WITHDRAWN, OFF_THE_SHELF, 0)):
        yield _page(f"delete/{number}", who, Form({}))
    for who, helpful in product(MAY_BE, ("yes", "no", "-", "")):
        yield _page(f"vote/{ANNS}", who, Form({"helpful": helpful, "page": "2"}))
    for page in ("", "x", "²", "-1", "9" * 30):
        yield _page(f"vote/{ANNS}", "bob", Form({"helpful": "yes", "page": page}))
    for number in (HIDDEN, WITHDRAWN, OFF_THE_SHELF, 0):
        yield _page(f"vote/{number}", "bob", Form({"helpful": "yes"}))


def _page(path: str, who: str | None, body: Body, language: str = "en") -> Case:
    return _case("POST", f"/{language}/reviews/{path}/", who, body, exempt=OF_A_PAGE)


WRITES = [
    *_created(),
    *_in_versions(),
    *_refused_fields(),
    *_refused_bodies(),
    *_forged(),
    *_changed(),
    *_deleted(),
    *_photographed(),
    *_voted(),
    *_by_forms(),
]
