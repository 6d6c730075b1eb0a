from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import cache_control

from catalog.forms import ProductSearch
from catalog.models import Product
from catalog.placeholder import draw
from reviews.forms import ReviewForm

PRODUCTS_PER_PAGE = 24
REVIEWS_PER_PAGE = 10


def products(request):
    form = ProductSearch(request.GET)
    form.is_valid()
    found = form.products(Product.objects.active().select_related("category"))
    page = Paginator(found, PRODUCTS_PER_PAGE).get_page(request.GET.get("page"))
    pages = page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)
    context = {"form": form, "page": page, "pages": pages, "category": form.chosen}
    return render(request, "catalog/products.html", context)


def product(request, slug):
    shown = get_object_or_404(Product.objects.active().select_related("category__parent"), slug=slug)
    return product_page(request, shown, ReviewForm())


def product_page(request, product, form):
    """Show a product with its reviews and a form for one's own."""
    reviews = product.reviews.published().select_related("author")
    mine = request.user.is_authenticated and product.reviews.filter(author=request.user).first()
    page = Paginator(reviews, REVIEWS_PER_PAGE).get_page(request.GET.get("page"))
    context = {"product": product, "page": page, "form": form, "mine": mine}
    return render(request, "catalog/product.html", context)


@cache_control(public=True, max_age=86400)
def placeholder(request, sku):
    return HttpResponse(draw(sku), content_type="image/svg+xml")
