"""What follows from products that came by the stream."""

from strangler_django.reactions import reaction

from cart.models import CartItem


@reaction("shelf")
def take_out(change):
    if change.new is not None and not change.new["is_active"]:
        CartItem.objects.filter(product=change.key["id"]).delete()
