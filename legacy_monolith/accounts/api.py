from rest_framework import serializers
from rest_framework.authtoken.views import ObtainAuthToken
from rest_framework.generics import RetrieveUpdateAPIView
from rest_framework.permissions import IsAuthenticated

from accounts.models import User
from shop.api import AnonymousWrites


class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ["id", "username", "email", "first_name", "last_name", "newsletter", "date_joined"]
        read_only_fields = ["username", "date_joined"]


class Me(RetrieveUpdateAPIView):
    """Show and change the account that asks."""

    serializer_class = UserSerializer
    permission_classes = [IsAuthenticated]
    http_method_names = ["get", "patch", "head", "options"]

    def get_object(self):
        return self.request.user


class Token(ObtainAuthToken):
    """Exchange a user name and password for the token that `Authorization: Token ...` carries."""

    throttle_classes = [AnonymousWrites]
