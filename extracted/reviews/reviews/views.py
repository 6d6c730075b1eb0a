from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.paginator import Paginator
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from catalog.models import Product
from reviews.forms import ReviewForm
from reviews.models import ALREADY_REVIEWED, NOT_ONES_OWN, AlreadyReviewed, Review, one_each

REVIEWS_PER_PAGE = 10
VOTES = {"yes": True, "no": False}


@require_safe
def of(request, slug):
    """Show what customers say of a product; `?part=1` is the same without the page around it."""
    product = get_object_or_404(Product.objects.active(), slug=slug)
    reviews = product.reviews.published().in_full().order_by("-created_at", "id")
    page = Paginator(reviews, REVIEWS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "product": product,
        "page": page,
        "pages": page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1),
        **_of_visitor(request.user, product, page),
    }
    return render(request, "reviews/part.html" if "part" in request.GET else "reviews/of.html", context)


def _of_visitor(user, product, page):
    if not user.is_authenticated:
        return {}
    votes = user.review_votes.filter(review__in=[review.id for review in page])
    voted = {vote.review_id: vote.helpful for vote in votes}
    for review in page:
        review.my_vote = voted.get(review.id)
    return {"mine": product.reviews.filter(author_id=user.id).first()}


@login_required
def write(request, slug):
    product = get_object_or_404(Product.objects.active(), slug=slug)
    if product.reviews.filter(author_id=request.user.id).exists():
        return _already_reviewed(request, product)
    form = ReviewForm(request.POST or None, request.FILES or None)
    if request.method != "POST" or not form.is_valid():
        return render(request, "reviews/write.html", {"product": product, "form": form})
    form.instance.product = product
    form.instance.author = request.user
    if not _saved(form):
        return _already_reviewed(request, product)
    messages.success(request, _("Thank you for your review."))
    return redirect(_reviews_of(product, form.instance))


@require_POST
def delete(request, pk):
    review = get_object_or_404(Review.objects.select_related("product"), pk=pk)
    if not request.user.is_authenticated:
        return redirect_to_login(_reviews_of(review.product))
    if review.author_id != request.user.id:
        raise Http404
    review.withdraw()
    messages.success(request, _("Your review is deleted."))
    return redirect(_reviews_of(review.product))


@require_POST
def vote(request, pk):
    """Say whether a review helped: `helpful` is yes or no; anything else takes back what was said."""
    review = get_object_or_404(Review.objects.on_the_shelf().select_related("product"), pk=pk)
    if not request.user.is_authenticated:
        return redirect_to_login(_reviews_of(review.product))
    if review.author_id == request.user.id:
        messages.error(request, NOT_ONES_OWN)
    elif (helpful := VOTES.get(request.POST.get("helpful"))) is None:
        review.take_back_vote(request.user)
    else:
        review.vote(request.user, helpful)
    return redirect(_reviews_of(review.product, review, page=request.POST.get("page", "")))


def _reviews_of(product, review=None, page=""):
    address = reverse("reviews:of", args=[product.slug])
    shown = f"?page={page}" if page.isdecimal() else ""
    return f"{address}{shown}#review-{review.id}" if review else address


def _already_reviewed(request, product):
    messages.error(request, ALREADY_REVIEWED)
    return redirect(_reviews_of(product))


def _saved(form):
    try:
        with one_each():
            form.save()
    except AlreadyReviewed:
        return False
    return True
