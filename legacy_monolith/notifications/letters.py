"""Mail is queued in the transaction that it tells of, and sent after it: a rollback takes its letters with it."""

from smtplib import SMTPException

from django.core.mail import EmailMessage
from django.db import transaction

from notifications.models import Letter

MOST_AT_ONCE = 200
SUBJECT_LENGTH = Letter._meta.get_field("subject").max_length


def letter(*, to, subject, body):
    """Return a letter to be saved. A subject is one line, or it would be a header more."""
    return Letter(to=to, subject=" ".join(subject.split())[:SUBJECT_LENGTH], body=body)


def send_due(most=MOST_AT_ONCE):
    """Send at most `most` letters that are due, and return how many were tried."""
    tried = 0
    while tried < most and _send_next():
        tried += 1
    return tried


@transaction.atomic
def _send_next():
    # One transaction a letter: a process that dies here has sent one letter twice at most. Letters that another
    # worker is sending are passed over.
    due = Letter.objects.due().select_for_update(skip_locked=True).first()
    if due is None:
        return False
    try:
        EmailMessage(due.subject, due.body, to=[due.to]).send()
    except (SMTPException, OSError, ValueError) as problem:  # ValueError: an address that no header can carry
        due.not_sent(problem)
    else:
        due.sent()
    return True
