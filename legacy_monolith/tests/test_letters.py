import threading
from datetime import timedelta

import django
import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection, transaction
from django.utils import timezone

from notifications import letters
from notifications.announce import queue
from notifications.letters import letter
from notifications.models import MOST_ATTEMPTS, Letter
from notifications.tasks import send_pending
from tests import factories

pytestmark = pytest.mark.in_process("it looks at what was sent")


class Refusing(EmailBackend):
    def send_messages(self, messages):
        raise ConnectionRefusedError("nobody listens there")


class Waiting(EmailBackend):
    """Sends when it is told to; says when it has begun."""

    begun, go_on = threading.Event(), threading.Event()

    def send_messages(self, messages):
        self.begun.set()
        assert self.go_on.wait(10)
        return super().send_messages(messages)


@pytest.fixture
def through(settings):
    def use(backend):
        path = f"{backend.__module__}.{backend.__name__}"
        if django.VERSION >= (6, 1):
            settings.MAILERS = {"default": {"BACKEND": path}}
        else:
            settings.EMAIL_BACKEND = path

    return use


def hasten():
    Letter.objects.update(send_after=timezone.now())


def test_letters_are_sent_when_they_are_due(db):
    first = factories.letter(to="ann@example.com", subject="Hello", body="Grüße")
    factories.letter(send_after=timezone.now() + timedelta(minutes=1))
    factories.letter(status="failed")
    send_pending()
    assert [(each.to, each.subject, each.body) for each in mail.outbox] == [(["ann@example.com"], "Hello", "Grüße")]
    first.refresh_from_db()
    assert (first.status, first.attempts, first.sent_at is not None) == ("sent", 1, True)
    send_pending()
    assert len(mail.outbox) == 1


def test_a_letter_is_tried_five_times_each_time_later(db, through):
    through(Refusing)
    sent = factories.letter()
    waited = []
    for _ in range(MOST_ATTEMPTS):
        hasten()
        before = timezone.now()
        assert letters.send_due() == 1
        sent.refresh_from_db()
        waited.append(round((sent.send_after - before).total_seconds() / 60))
    assert waited == [2, 4, 8, 16, 32]
    assert (sent.status, sent.attempts) == ("failed", 5)
    assert sent.last_error == "ConnectionRefusedError: nobody listens there"
    hasten()
    assert letters.send_due() == 0


def test_one_that_cannot_be_sent_does_not_stop_the_others(db):
    broken, fine = factories.letter(to="two\nlines@example.com"), factories.letter()
    assert letters.send_due() == 2
    broken.refresh_from_db()
    fine.refresh_from_db()
    assert (broken.status, fine.status) == ("pending", "sent")
    assert "Header values" in broken.last_error


def test_a_subject_is_one_line():
    assert letter(to="a@example.com", subject=" Your\r\nBcc: order\t1 ", body="").subject == "Your Bcc: order 1"
    assert len(letter(to="a@example.com", subject="x" * 300, body="").subject) == 200


@pytest.mark.django_db(transaction=True)
def test_a_letter_is_sent_after_the_commit():
    with transaction.atomic():
        queue([letter(to="ann@example.com", subject="Hello", body="")])
        assert mail.outbox == []
    assert len(mail.outbox) == 1


@pytest.mark.django_db(transaction=True)
def test_a_rollback_takes_its_letters_with_it():
    with transaction.atomic():
        queue([letter(to="ann@example.com", subject="Hello", body="")])
        transaction.set_rollback(True)
    assert (mail.outbox, Letter.objects.count()) == ([], 0)


@pytest.mark.django_db(transaction=True)
def test_two_senders_share_the_letters(through):
    through(Waiting)
    for number in range(2):
        factories.letter(subject=str(number), send_after=timezone.now() - timedelta(minutes=2 - number))
    one = threading.Thread(target=_send_one)
    one.start()
    assert Waiting.begun.wait(10)
    through(EmailBackend)
    assert letters.send_due() == 1
    Waiting.go_on.set()
    one.join(10)
    assert [each.subject for each in mail.outbox] == ["1", "0"]
    assert set(Letter.objects.values_list("status", "attempts")) == {("sent", 1)}


def _send_one():
    try:
        letters.send_due(most=1)
    finally:
        connection.close()
