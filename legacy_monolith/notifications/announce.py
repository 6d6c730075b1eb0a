"""Tell people what happened, in the channels that they want."""

from django.db import transaction

from notifications.letters import letter
from notifications.models import Channel, Letter, Notification, Preference
from notifications.tasks import send_pending


@transaction.atomic
def announce(kind, about, recipients, *, subject, body, data):
    """Notify `recipients` of `about`, a row of any table, and queue letters; both are gone if the caller rolls back."""
    wanted = _wanted(kind, recipients)
    Notification.objects.bulk_create(
        Notification(recipient=user, kind=kind, about=about, data=data) for user in wanted[Channel.SITE]
    )
    queue(letter(to=user.email, subject=subject, body=body) for user in wanted[Channel.MAIL] if user.email)


def queue(letters):
    """Save `letters` and have them sent after the commit."""
    if Letter.objects.bulk_create(letters):
        # Robust: without the broker they are sent by the clock, and the order stands all the same.
        transaction.on_commit(send_pending.delay, robust=True)


def _wanted(kind, recipients):
    """Return, by channel, which of `recipients` want to hear of `kind` there."""
    said = {
        (preference.user_id, preference.channel): preference.kinds
        for preference in Preference.objects.filter(user__in=recipients)
    }
    return {
        channel: [user for user in recipients if kind in said.get((user.id, channel), Preference.DEFAULTS[channel])]
        for channel in Channel
    }
