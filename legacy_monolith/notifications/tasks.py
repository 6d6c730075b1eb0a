from celery import shared_task

from notifications import letters


@shared_task
def send_pending():
    """Send the letters that are due."""
    letters.send_due()
