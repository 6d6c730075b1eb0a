from django.db import migrations, models

import strangler.service.django


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="User",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("username", models.CharField(db_index=True, max_length=150)),
                ("is_staff", models.BooleanField(default=False)),
            ],
            bases=(strangler.service.django.Visitor, models.Model),
        ),
    ]
