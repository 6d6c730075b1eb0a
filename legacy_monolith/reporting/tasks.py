from celery import shared_task
from django.core.management import call_command


@shared_task
def close_day():
    """Count yesterday's sales."""
    call_command("close_day")
