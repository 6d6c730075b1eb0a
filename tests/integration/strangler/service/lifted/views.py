from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.urls import path, re_path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


def page(request: HttpRequest) -> HttpResponse:
    user = request.user
    return JsonResponse({"name": user.get_username() if user.is_anonymous else user.username, "staff": user.is_staff})


def plain(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(get_token(request))


@login_required  # type: ignore[untyped-decorator]
def private(request: HttpRequest) -> HttpResponse:
    return HttpResponse("private")


@permission_required("people.change_person", raise_exception=True)  # type: ignore[untyped-decorator]
def guarded(request: HttpRequest) -> HttpResponse:
    return HttpResponse("guarded")


class Api(APIView):  # type: ignore[misc]
    def get(self, request: Request, **kwargs: Any) -> Response:
        return Response({"authenticated": request.user.is_authenticated, "staff": request.user.is_staff})

    post = get


urlpatterns = [
    path("page/", page),
    path("plain/<int:number>/", plain),
    path("private/", private),
    path("guarded/", guarded),
    re_path(r"^api/(?P<pk>[0-9]+)/$", Api.as_view()),
]
