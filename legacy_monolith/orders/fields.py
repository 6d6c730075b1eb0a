from django.db import models


class EnumField(models.CharField):
    """Text that the database holds as one of its own enum types."""

    def __init__(self, *args, enum, **kwargs):
        self.enum = enum
        super().__init__(*args, **kwargs)

    def deconstruct(self):
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "enum": self.enum}

    def db_type(self, connection):
        return self.enum

    def cast_db_type(self, connection):
        return self.enum
