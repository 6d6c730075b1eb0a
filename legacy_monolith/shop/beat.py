"""What runs by the clock."""

from celery.schedules import crontab

MINUTE = 60.0


def every(seconds, task):
    # A tick that nobody took before the next one is not needed any more.
    return {"task": task, "schedule": seconds, "options": {"expires": seconds}}


SCHEDULE = {
    "give back stock that was reserved and not bought": every(MINUTE, "inventory.tasks.expire_reservations"),
    "cancel orders that nobody paid": every(10 * MINUTE, "orders.tasks.cancel_unpaid"),
    "ask the payment gateway what became of the open payments": every(60 * MINUTE, "payments.tasks.settle"),
    "send the letters that are due": every(MINUTE, "notifications.tasks.send_pending"),
    "forget carts that nobody came back to": {
        "task": "cart.tasks.forget_old_carts",
        "schedule": crontab(hour=3, minute=40),
    },
    "forget who voted for reviews that are gone": {
        "task": "reviews.tasks.forget_votes",
        "schedule": crontab(hour=4, minute=10),
    },
    # After midnight of UTC, the shop's day.
    "count yesterday's sales": {"task": "reporting.tasks.close_day", "schedule": crontab(hour=0, minute=10)},
}
