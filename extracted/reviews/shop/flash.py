"""Messages that survive one redirect, in a cookie of their own.

The key is not the project's: whatever else answers pages of this site can set and read messages with it, and could
do nothing more.
"""

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.core.signing import TimestampSigner


class SignedMessages(CookieStorage):
    def __init__(self, request, *args, **kwargs):
        super().__init__(request, *args, **kwargs)
        key = getattr(settings, "MESSAGES_KEY", "") or settings.SECRET_KEY
        self.signer = TimestampSigner(key=f"messages{key}", fallback_keys=[], salt=self.key_salt)
