from django.db.models import F
from django.http import JsonResponse
from django.shortcuts import render
from django.views import defaults
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie

from cart import shopping
from catalog.models import Category, Product

ON_THE_FRONT = 8


def home(request):
    products = Product.objects.active().select_related("category")
    context = {
        "categories": Category.objects.filter(parent=None),
        "newest": products.order_by("-created_at", "id")[:ON_THE_FRONT],
        "loved": products.filter(review_count__gte=3, stock__gt=0).order_by(F("rating").desc(), "-review_count", "id")[
            :ON_THE_FRONT
        ],
    }
    return render(request, "shop/home.html", context)


@never_cache
@ensure_csrf_cookie
def bar(request):
    """What of every page's head is the visitor's own; a script fetches it into pages that are the same for all."""
    return render(request, "shop/bar.html", {"count": shopping.count(shopping.current(request))})


def not_found(request, exception):
    if request.path_info.startswith("/api/"):
        return JsonResponse({"detail": "Not found."}, status=404, json_dumps_params={"separators": (",", ":")})
    return defaults.page_not_found(request, exception)


def broken(request):
    if request.path_info.startswith("/api/"):
        return JsonResponse({"detail": "Internal server error."}, status=500)
    return defaults.server_error(request)
