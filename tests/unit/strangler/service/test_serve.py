import pytest

from strangler.service.errors import SettingRefused
from strangler.service.serve import Listen


@pytest.mark.parametrize(
    ("text", "host", "port"), [("127.0.0.1:8101", "127.0.0.1", 8101), ("[::1]:0", "::1", 0), ("shop:80", "shop", 80)]
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert Listen.parse(text) == Listen(host=host, port=port)


@pytest.mark.parametrize("text", ["", "8101", ":8101", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SettingRefused, match="write HOST:PORT"):
        Listen.parse(text)
