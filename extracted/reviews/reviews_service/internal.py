"""What the monolith's administration has done to reviews, where they are owned here. Open to the monolith alone.

No route of the proxy leads here, and whoever does not prove that it is the monolith is told that there is nothing.
"""

import json

from django.db import DatabaseError
from django.http import Http404, JsonResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from reviews.models import Review
from strangler.service.calling import MONOLITH, caller

MOST = 1_000
FENCED = "SF001"


@csrf_exempt  # it is proved who calls, and no browser can
def published(request):
    """Publish or hide reviews, by their ids."""
    if caller() != MONOLITH:
        raise Http404
    if request.method != "PUT":
        return _problem(405, "only PUT is answered here", Allow="PUT")
    wanted = _wanted(request.body)
    if wanted is None:
        return _problem(400, f'what came is not {{"ids": [at most {MOST} ids], "is_published": true or false}}')
    ids, is_published = wanted
    try:
        reviews = Review.with_deleted.filter(id__in=ids)
        changed = reviews.update(is_published=is_published, updated_at=timezone.now())
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", None) != FENCED:
            raise
        told = "reviews cannot be written here at this moment; nothing was saved"
        return _problem(503, told, {"capability": "reviews"}, **{"Retry-After": "1"})
    return JsonResponse({"changed": changed})


def _wanted(body):
    try:
        told = json.loads(body)
    except ValueError:
        return None
    if not isinstance(told, dict) or told.keys() != {"ids", "is_published"} or not isinstance(told["ids"], list):
        return None
    fits = all(type(each) is int and 0 < each < 2**63 for each in told["ids"]) and len(told["ids"]) <= MOST
    return (told["ids"], told["is_published"]) if fits and isinstance(told["is_published"], bool) else None


def _problem(status, detail, more=None, **headers):
    content = {"type": "about:blank", "title": "Not done", "status": status, "detail": detail, **(more or {})}
    return JsonResponse(content, status=status, headers=headers, content_type="application/problem+json")


urlpatterns = [path("reviews/published/", published)]
