"""The cart's pages."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from cart import shopping
from catalog.models import Product
from storefront.forms import ChangeForm, QuantityForm


@never_cache
def cart(request):
    kept = shopping.current(request)
    return render(request, "storefront/cart.html", {"lines": shopping.lines(kept), "total": shopping.total(kept)})


@never_cache
def add(request, slug):
    """Ask how many (that is where the button leads without the script), and put them into the cart."""
    product = get_object_or_404(Product.objects.active().select_related("category"), slug=slug)
    form = QuantityForm(request.POST if request.method == "POST" else request.GET or None)
    if request.method == "POST" and form.is_valid() and _added(request, form, product):
        messages.success(request, _("%(name)s is in your cart.") % {"name": product.name})
        return redirect("storefront:cart")
    return render(request, "storefront/add.html", {"product": product, "form": form})


@require_POST
def change(request, product_id):
    form = ChangeForm(request.POST)
    product = get_object_or_404(Product, id=product_id)
    if not form.is_valid():
        messages.error(request, _("A quantity is a whole number from 0 to 99."))
        return redirect("storefront:cart")
    try:
        shopping.set_quantity(shopping.opened(request), product, form.cleaned_data["quantity"])
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect("storefront:cart")


def _added(request, form, product):
    try:
        shopping.add(shopping.opened(request), product, form.cleaned_data["quantity"])
    except ValidationError as error:
        form.add_error("quantity", error.messages)
        return False
    return True
