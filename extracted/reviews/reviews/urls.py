from django.urls import path

from reviews import views

app_name = "reviews"

urlpatterns = [
    path("of/<slug:slug>/", views.of, name="of"),
    path("write/<slug:slug>/", views.write, name="write"),
    path("delete/<int:pk>/", views.delete, name="delete"),
    path("vote/<int:pk>/", views.vote, name="vote"),
]
