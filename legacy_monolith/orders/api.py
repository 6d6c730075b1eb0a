from django.core.exceptions import ValidationError as Refused
from django.utils.decorators import method_decorator
from django.utils.http import http_date
from django.utils.translation import gettext as _
from django.views.decorators.http import conditional_page
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts.models import Address
from cart import shopping
from orders import checkout
from orders.models import Coupon, Order, OrderEvent, OrderLine
from payments.gateway import GatewayError, passes_luhn
from payments.models import Payment
from payments.pay import pay
from shop.api import StableOrdering, WithMoney


class Unpaid(APIException):
    """The order that is named stands, and may be paid again."""

    def __init__(self, order):
        super().__init__({"detail": self.default_detail, "number": str(order.number)})


class PaymentRefused(Unpaid):
    status_code = status.HTTP_402_PAYMENT_REQUIRED
    default_detail = "The bank declined this card. Nothing was charged."


class BankSilent(Unpaid):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The bank does not answer. Nothing was charged; please try again."


class OrderLineSerializer(WithMoney, serializers.ModelSerializer):
    class Meta:
        model = OrderLine
        fields = ["product", "name", "price", "quantity", "total"]
        amounts = ["price", "total"]
        currency = "order.currency"

    total = serializers.DecimalField(max_digits=12, decimal_places=2, read_only=True)


class OrderEventSerializer(serializers.ModelSerializer):
    class Meta:
        model = OrderEvent
        fields = ["at", "kind"]


class OrderSerializer(WithMoney, serializers.ModelSerializer):
    lines = OrderLineSerializer(many=True, read_only=True)
    events = OrderEventSerializer(many=True, read_only=True)
    coupon = serializers.SlugRelatedField(slug_field="code", read_only=True)
    status = serializers.ChoiceField(Order.Status.choices, read_only=True)

    class Meta:
        model = Order
        fields = [
            "number",
            "status",
            "shipping_address",
            "billing_address",
            "coupon",
            "subtotal",
            "discount",
            "shipping",
            "total",
            "currency",
            "placed_at",
            "updated_at",
            "lines",
            "events",
        ]
        amounts = ["subtotal", "discount", "shipping", "total"]
        currency = "currency"


class AddressInOrder(serializers.ModelSerializer):
    class Meta:
        model = Address
        fields = ["name", "street", "postcode", "city", "country"]


class Card(serializers.Serializer):
    number = serializers.CharField(max_length=23, write_only=True)
    holder = serializers.CharField(max_length=120)

    def validate_number(self, number):
        number = "".join(number.split())
        if not passes_luhn(number):
            raise serializers.ValidationError(_("This is no card number."))
        return number


class Placing(serializers.Serializer):
    address = AddressInOrder()
    billing_address = AddressInOrder(required=False)
    coupon = serializers.CharField(max_length=40, required=False)
    card = Card(required=False, help_text="Without one the order waits to be paid.")

    def validate_coupon(self, code):
        coupon = Coupon.objects.filter(code__iexact=code).first()
        if coupon is None:
            raise serializers.ValidationError(_("There is no such coupon."))
        return coupon


class OrderFilter(filters.FilterSet):
    status = filters.ChoiceFilter(choices=Order.Status.choices)
    placed_after = filters.IsoDateTimeFilter(field_name="placed_at", lookup_expr="gte")
    placed_before = filters.IsoDateTimeFilter(field_name="placed_at", lookup_expr="lt")

    class Meta:
        model = Order
        fields = []


class OrderViewSet(ListModelMixin, RetrieveModelMixin, GenericViewSet):
    """The orders of the account that asks."""

    queryset = Order.objects.select_related("coupon").prefetch_related("lines__order", "events")
    serializer_class = OrderSerializer
    permission_classes = [IsAuthenticated]
    lookup_field = "number"
    lookup_value_regex = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    filter_backends = [filters.DjangoFilterBackend, StableOrdering]
    filterset_class = OrderFilter
    ordering_fields = ["placed_at", "total"]
    ordering = ["-placed_at", "id"]

    def get_queryset(self):
        return super().get_queryset().filter(user_id=self.request.user.pk)

    @method_decorator(conditional_page)
    def retrieve(self, request, *args, **kwargs):
        order = self.get_object()
        headers = {"Last-Modified": http_date(order.updated_at.timestamp()), "Cache-Control": "private, no-cache"}
        return Response(self.get_serializer(order).data, headers=headers)

    @extend_schema(request=Placing, responses={201: OrderSerializer, 402: None, 503: None})
    def create(self, request):
        """Order what is in the cart, and pay for it when a card is given.

        A card that does not pay leaves the order placed; the answer names it.
        """
        asked = Placing(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        order = _step(
            checkout.place,
            shopping.current(request),
            request.user,
            dict(wanted["address"]),
            coupon=wanted.get("coupon"),
            billing_address=dict(wanted["billing_address"]) if "billing_address" in wanted else None,
        )
        if "card" in wanted:
            self._charge(order, wanted["card"])
        return self._told(order, status.HTTP_201_CREATED)

    @extend_schema(request=Card, responses={200: OrderSerializer, 402: None, 503: None})
    @action(detail=True, methods=["post"])
    def pay(self, request, **kwargs):
        """Charge a card for the order; one that is paid is not charged again."""
        order, card = self.get_object(), Card(data=request.data)
        card.is_valid(raise_exception=True)
        self._charge(order, card.validated_data)
        return self._told(order)

    @extend_schema(request=None, responses=OrderSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, **kwargs):
        """Cancel an order that has not left the house; what was paid is given back."""
        order = self.get_object()
        _step(checkout.cancel, order)
        return self._told(order)

    def _charge(self, order, card):
        try:
            payment = _step(pay, order, card["number"], card["holder"])
        except GatewayError as error:
            raise BankSilent(order) from error
        if payment.status != Payment.Status.PAID:
            raise PaymentRefused(order)

    def _told(self, order, code=status.HTTP_200_OK):
        return Response(self.get_serializer(self.get_queryset().get(pk=order.pk)).data, code)


def _step(step, *args, **kwargs):
    try:
        return step(*args, **kwargs)
    except Refused as error:
        problem = error.message_dict if hasattr(error, "error_dict") else {"non_field_errors": error.messages}
        raise serializers.ValidationError(problem) from error
