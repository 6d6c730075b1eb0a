from django.urls import path

from reviews import views

app_name = "reviews"

urlpatterns = [
    path("write/<slug:slug>/", views.write, name="write"),
    path("delete/<int:pk>/", views.delete, name="delete"),
]
