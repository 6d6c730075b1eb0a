import threading
from io import BytesIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import IntegrityError, connection, transaction
from PIL import Image

from reviews import pictures
from reviews.models import Photo, Review, TooManyPhotos
from tests import factories
from tests.pictures import PLACE, bomb, picture, told_of_a_place, upload

REVIEWS = "/api/reviews/"
NO_PICTURE = "Send a JPEG, PNG or WebP picture; this file is none, or it is broken."


@pytest.fixture
def ann(db):
    return factories.user(username="ann")


@pytest.fixture
def mine(ann):
    return factories.review(author=ann)


@pytest.fixture
def by_ann(api, ann):
    api.force_authenticate(ann)
    return api


def add(api, review, file):
    return api.post(f"{REVIEWS}{review.id}/photos/", {"image": file}, format="multipart")


def kept_files():
    return sorted(path.name for path in Path(settings.MEDIA_ROOT, "reviews").glob("*"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_drawn_anew_as_what_it_was(kind):
    drawn = pictures.drawn_anew(picture(kind))
    with Image.open(BytesIO(drawn.content)) as image:
        assert (image.format, image.size) == (kind, (60, 40)) == (kind, (drawn.width, drawn.height))


def test_only_the_pixels_survive_and_they_stand_upright():
    sent = told_of_a_place()
    assert PLACE[271].encode() in sent.read()
    sent.seek(0)
    drawn = pictures.drawn_anew(sent)
    with Image.open(BytesIO(drawn.content)) as image:
        assert dict(image.getexif()) == {}
        assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert image.size == (40, 60)
    for hidden in [PLACE[271].encode(), b"<script>", b"<?php"]:
        assert hidden not in drawn.content


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA")])
def test_what_is_transparent_stays_so(kind, mode):
    drawn = pictures.drawn_anew(picture(kind, mode=mode, colour=0))
    with Image.open(BytesIO(drawn.content)) as image:
        assert image.convert("RGBA").getpixel((0, 0))[3] == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "CMYK"])
def test_unusual_colours_are_drawn_in_usual_ones(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    with Image.open(BytesIO(pictures.drawn_anew(picture(kind, mode=mode, colour=0)).content)) as image:
        assert image.mode == "RGB"


def test_a_large_picture_is_made_as_large_as_a_screen():
    drawn = pictures.drawn_anew(picture(size=(4000, 1000)))
    assert (drawn.width, drawn.height) == (1600, 400)


def test_names_are_made_up():
    names = [pictures.drawn_anew(picture(name="../../etc/me.php")).name for _ in range(2)]
    assert len(set(names)) == 2
    assert all(len(name) == 36 and name.endswith(".jpg") for name in names)


@pytest.mark.parametrize(
    "sent",
    [
        upload(b""),
        upload(b"plain words"),
        upload(b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', "x.svg"),
        upload(b"\xff\xd8\xff\xe0" + b"\0" * 50),
        picture("GIF"),
        picture("BMP"),
        upload(picture(size=(300, 300)).read()[:300]),
        upload(picture("PNG", size=(300, 300)).read()[:100]),
    ],
    ids=["empty", "text", "svg", "head only", "gif", "bmp", "half a jpeg", "half a png"],
)
def test_what_is_no_picture_is_refused(sent):
    with pytest.raises(pictures.Refused, match="this file is none"):
        pictures.drawn_anew(sent)


def test_what_would_fill_the_memory_is_refused():
    with pytest.raises(pictures.Refused, match="at most 5 MB"):
        pictures.drawn_anew(bomb())


def test_a_review_is_written_with_its_photos(by_ann):
    sent = {"product": factories.product().id, "rating": 5, "title": "Look", "images": [picture(), picture("PNG")]}
    response = by_ann.post(REVIEWS, sent, format="multipart")
    assert response.status_code == 201
    first, second = response.json()["photos"]
    assert (first["width"], first["height"]) == (60, 40)
    assert (first["image"][-4:], second["image"][-4:]) == (".jpg", ".png")
    assert by_ann.get(f"{REVIEWS}{response.json()['id']}/").json()["photos"] == [first, second]
    assert kept_files() == sorted(photo["image"].removeprefix("/media/reviews/") for photo in (first, second))


def test_a_photo_is_kept_where_its_address_says(by_ann, mine):
    photo = add(by_ann, mine, picture()).json()
    assert set(photo) == {"id", "image", "width", "height"}
    assert photo["image"].startswith("/media/reviews/")
    assert default_storage.exists(photo["image"].removeprefix("/media/"))


def test_photos_are_added_one_by_one_until_there_are_four(by_ann, mine):
    for number in range(1, 5):
        assert add(by_ann, mine, picture()).status_code == 201
        assert len(by_ann.get(f"{REVIEWS}{mine.id}/").json()["photos"]) == number
    fifth = add(by_ann, mine, picture())
    assert (fifth.status_code, fifth.json()) == (400, {"image": ["A review has at most four photos."]})
    assert len(kept_files()) == 4


def test_five_photos_at_once_are_refused_and_nothing_is_kept(by_ann):
    sent = {"product": factories.product().id, "rating": 5, "title": "Look", "images": [picture() for _ in range(5)]}
    response = by_ann.post(REVIEWS, sent, format="multipart")
    assert (response.status_code, response.json()) == (400, {"images": ["A review has at most four photos."]})
    assert (Review.objects.count(), kept_files()) == (0, [])


def test_what_is_wrong_with_a_photo_is_said(by_ann, mine):
    assert add(by_ann, mine, upload(b"x")).json() == {"image": [NO_PICTURE]}
    assert add(by_ann, mine, upload(b"")).json() == {"image": ["The submitted file is empty."]}
    assert by_ann.post(f"{REVIEWS}{mine.id}/photos/", {}).json() == {"image": ["No file was submitted."]}
    assert by_ann.post(f"{REVIEWS}{mine.id}/photos/", {"image": "x"}).json() == {
        "image": ["The submitted data was not a file. Check the encoding type on the form."]
    }
    big = upload(picture().read() + b"\0" * pictures.MOST_BYTES)
    assert add(by_ann, mine, big).json() == {"image": ["A photo has at most 5 MB and 60 megapixels."]}
    sent = {"product": factories.product().id, "rating": 5, "title": "Look", "images": [picture(), upload(b"x")]}
    assert by_ann.post(REVIEWS, sent, format="multipart").json() == {"images": {"1": [NO_PICTURE]}}
    assert kept_files() == []


def test_a_review_that_exists_takes_no_photos_with_its_change(by_ann, mine):
    response = by_ann.patch(f"{REVIEWS}{mine.id}/", {"title": "x", "images": [picture()]}, format="multipart")
    assert (response.status_code, response.json()) == (400, {"images": ["Further photos are sent to photos/."]})


def test_only_the_author_or_staff_adds_photos(api, mine):
    assert add(api, mine, picture()).status_code == 401
    api.force_authenticate(factories.user())
    assert add(api, mine, picture()).status_code == 403
    api.force_authenticate(factories.user(is_staff=True))
    assert add(api, mine, picture()).status_code == 201
    assert api.post(f"{REVIEWS}999999/photos/", {}).status_code == 404


def test_the_place_of_a_photo_that_was_taken_away_is_filled(mine):
    mine.add_photos([pictures.drawn_anew(picture()) for _ in range(4)])
    mine.photos.get(position=1).delete()
    assert [photo.position for photo in mine.add_photos([pictures.drawn_anew(picture())])] == [1]


def test_the_database_refuses_a_fifth_photo(mine):
    with pytest.raises(IntegrityError), transaction.atomic():
        factories.photo(review=mine, position=4)


@pytest.mark.django_db(transaction=True)
def test_photos_that_come_at_the_same_moment_are_four_at_most():
    review = factories.review()
    start = threading.Barrier(6)

    def send():
        start.wait()
        try:
            review.add_photos([pictures.drawn_anew(picture())])
        except TooManyPhotos:
            pass
        finally:
            connection.close()

    senders = [threading.Thread(target=send) for _ in range(6)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert [photo.position for photo in Photo.objects.all()] == [0, 1, 2, 3]
    assert len(kept_files()) == 4


@pytest.mark.django_db(transaction=True)
def test_the_file_goes_with_the_account_that_is_erased():
    review = factories.review()
    review.add_photos([pictures.drawn_anew(picture())])
    review.withdraw()
    assert len(kept_files()) == 1
    review.author.delete()
    assert (Review.with_deleted.count(), kept_files()) == (0, [])
