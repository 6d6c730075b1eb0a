"""What other apps may listen to. Each is sent inside the transaction, with the ``order``; an error undoes all of it."""

from django.dispatch import Signal

order_placed = Signal()
order_paid = Signal()
order_shipped = Signal()
order_cancelled = Signal()
