from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import conditional_page, require_safe

from catalog.forms import ProductSearch
from catalog.models import Product
from catalog.placeholder import draw

PRODUCTS_PER_PAGE = 24


def for_everybody(view):
    """Answer every visitor alike: such a page may be kept by anybody, who asks each time whether it still holds."""
    fresh = cache_control(public=True, max_age=0, must_revalidate=True)
    # Nothing is written here, so there is nothing to forge; a method that writes is told so instead of suspected.
    return csrf_exempt(require_safe(fresh(conditional_page(view))))


@for_everybody
def products(request):
    form = ProductSearch(request.GET)
    form.is_valid()
    found = form.products(Product.objects.active().select_related("category"))
    page = Paginator(found, PRODUCTS_PER_PAGE).get_page(request.GET.get("page"))
    pages = page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)
    context = {"form": form, "page": page, "pages": pages, "category": form.chosen}
    return render(request, "catalog/products.html", context)


@for_everybody
def product(request, slug):
    shown = get_object_or_404(Product.objects.active().select_related("category__parent"), slug=slug)
    # Taken here: in a template "attributes.items" would be the attribute of that name, where a product has one.
    facts = shown.attributes.items() if isinstance(shown.attributes, dict) else ()
    return render(request, "catalog/product.html", {"product": shown, "facts": facts})


@cache_control(public=True, max_age=86400)
def placeholder(request, sku):
    return HttpResponse(draw(sku), content_type="image/svg+xml")
