from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from catalog.models import Product
from catalog.views import product_page
from reviews.forms import ReviewForm


@login_required
@require_POST
def write(request, slug):
    product = get_object_or_404(Product.objects.active(), slug=slug)
    form = ReviewForm(request.POST)
    form.instance.product = product
    form.instance.author = request.user
    if not form.is_valid():
        return product_page(request, product, form)
    if _saved(form):
        messages.success(request, _("Thank you for your review."))
    else:
        messages.error(request, _("You have already reviewed this product."))
    return redirect(f"{product.get_absolute_url()}#reviews")


@login_required
@require_POST
def delete(request, pk):
    review = get_object_or_404(request.user.reviews.select_related("product"), pk=pk)
    review.delete()
    messages.success(request, _("Your review is deleted."))
    return redirect(f"{review.product.get_absolute_url()}#reviews")


def _saved(form):
    try:
        with transaction.atomic():
            form.save()
    except IntegrityError:
        return False
    return True
