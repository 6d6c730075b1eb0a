"""What a visitor does with a cart. An anonymous one is known by the session, and joins the user's own at login."""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from cart.models import MOST_OF_ONE, Cart, CartItem

KEY = "cart"


def current(request):
    """Return the visitor's cart; one that does not exist yet is empty and unsaved, so that looking costs no row."""
    if request.user.is_authenticated:
        return Cart.objects.filter(user=request.user).first() or Cart(user=request.user)
    kept = request.session.get(KEY)
    return (kept and Cart.objects.filter(pk=kept, user=None).first()) or Cart()


def opened(request):
    """Return the visitor's cart, made when there was none."""
    cart = current(request)
    if not cart._state.adding:
        return cart
    if request.user.is_authenticated:
        return Cart.objects.get_or_create(user=request.user)[0]
    cart.save()
    request.session[KEY] = str(cart.pk)
    return cart


def lines(cart):
    """Return the cart's items with their products, in the order in which they came."""
    return [] if cart._state.adding else list(cart.items.select_related("product__category"))


def total(cart):
    return sum(line.total for line in lines(cart))


def count(cart):
    return sum(line.quantity for line in lines(cart))


@transaction.atomic
def add(cart, product, quantity):
    """Put ``quantity`` more of ``product`` into the cart. Raises ``ValidationError``."""
    _locked(cart)
    item = cart.items.filter(product=product).first() or CartItem(cart=cart, product=product, quantity=0)
    _keep(item, item.quantity + quantity)
    cart.save(update_fields=["updated_at"])
    return item


@transaction.atomic
def set_quantity(cart, product, quantity):
    """Set how many of ``product`` are in the cart; 0 takes it out. Raises ``ValidationError``."""
    _locked(cart)
    item = cart.items.filter(product=product).first()
    if item is None:
        raise ValidationError(_("This product is not in the cart."))
    if quantity == 0:
        item.delete()
    else:
        _keep(item, quantity)
    cart.save(update_fields=["updated_at"])


def remove(cart, product):
    set_quantity(cart, product, 0)


@transaction.atomic
def merge(cart, user):
    """Let an anonymous cart's items join the user's own, as far as they may."""
    own = Cart.objects.get_or_create(user=user)[0]
    _locked(own)
    for item in lines(cart):
        kept = own.items.filter(product=item.product).first() or CartItem(cart=own, product=item.product, quantity=0)
        try:
            _keep(kept, min(MOST_OF_ONE, item.product.stock, kept.quantity + item.quantity))
        except ValidationError:  # nothing of it is left
            continue
    own.save(update_fields=["updated_at"])
    cart.delete()
    return own


def _locked(cart):
    # Two clicks at once: the second waits, and then counts on from the first.
    Cart.objects.select_for_update().get(pk=cart.pk)


def _keep(item, quantity):
    product = item.product
    if not product.is_active:
        raise ValidationError(_("%(name)s is not for sale any more.") % {"name": product.name})
    if item.cart.items.exclude(product__currency=product.currency).exists():
        raise ValidationError(_("%(name)s is sold in another currency.") % {"name": product.name})
    if not 0 < quantity <= MOST_OF_ONE:
        raise ValidationError(_("At most %(count)s of one product.") % {"count": MOST_OF_ONE})
    if quantity > product.stock:
        raise ValidationError(_("%(name)s: only %(count)s left.") % {"name": product.name, "count": product.stock})
    item.quantity = quantity
    item.save()
