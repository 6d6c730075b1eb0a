from django.core.exceptions import ValidationError as Refused
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from cart import shopping
from cart.models import MOST_OF_ONE, CartItem
from catalog.models import Product
from shop.api import WithMoney


class ProductInCart(WithMoney, serializers.ModelSerializer):
    image = serializers.CharField(source="image_path")

    class Meta:
        model = Product
        fields = ["id", "slug", "name", "price", "currency", "image"]
        amounts = ["price"]
        currency = "currency"


class CartItemSerializer(serializers.ModelSerializer):
    product = ProductInCart()
    total = serializers.DecimalField(max_digits=12, decimal_places=2)

    class Meta:
        model = CartItem
        fields = ["product", "quantity", "total"]


class CartSerializer(serializers.Serializer):
    items = serializers.ListField(child=CartItemSerializer(), source="lines")
    count = serializers.IntegerField()
    total = serializers.DecimalField(max_digits=12, decimal_places=2)


class Wanted(serializers.Serializer):
    product = serializers.PrimaryKeyRelatedField(queryset=Product.objects.active())
    quantity = serializers.IntegerField(min_value=1, max_value=MOST_OF_ONE, default=1)


class Quantity(serializers.Serializer):
    quantity = serializers.IntegerField(min_value=1, max_value=MOST_OF_ONE)


class AnswersWithCart(APIView):
    permission_classes = [AllowAny]
    serializer_class = CartSerializer

    def told(self, cart, code=status.HTTP_200_OK):
        lines = shopping.lines(cart)
        shown = {
            "lines": lines,
            "count": sum(line.quantity for line in lines),
            "total": sum(line.total for line in lines),
        }
        told = CartSerializer(shown, context={"request": self.request}).data
        told["items"] = CartItemSerializer(lines, many=True, context={"request": self.request}).data
        return Response(told, code)

    def read(self, form):
        asked = form(data=self.request.data)
        asked.is_valid(raise_exception=True)
        return asked.validated_data


class CartView(AnswersWithCart):
    """The visitor's cart: of the account that asks, or of the session."""

    def get(self, request):
        return self.told(shopping.current(request))


class CartItems(AnswersWithCart):
    @extend_schema(request=Wanted, responses={201: CartSerializer})
    def post(self, request):
        """Put more of a product into the cart."""
        wanted, cart = self.read(Wanted), shopping.opened(request)
        _told_by_drf(shopping.add, cart, wanted["product"], wanted["quantity"])
        return self.told(cart, status.HTTP_201_CREATED)


class CartItemView(AnswersWithCart):
    @extend_schema(request=Quantity, responses=CartSerializer)
    def patch(self, request, product):
        """Change how many of a product are in the cart."""
        return self._set(product, self.read(Quantity)["quantity"])

    @extend_schema(responses=CartSerializer)
    def delete(self, request, product):
        """Take a product out of the cart."""
        return self._set(product, 0)

    def _set(self, product, quantity):
        cart = shopping.current(self.request)
        item = get_object_or_404(CartItem.objects.filter(cart__pk=cart.pk), product_id=product)
        _told_by_drf(shopping.set_quantity, cart, item.product, quantity)
        return self.told(cart)


def _told_by_drf(step, cart, product, quantity):
    try:
        step(cart, product, quantity)
    except Refused as error:
        raise serializers.ValidationError({"quantity": error.messages}) from error
