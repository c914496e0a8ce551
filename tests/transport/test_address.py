"""Where the server is: every way to write it, and what the environment adds."""

from __future__ import annotations

import pytest

from comfy_async._transport.address import Address, cloud_api_key, default_base_url, origin_of


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("http://127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("http://127.0.0.1:8188/", "http://127.0.0.1:8188"),
        ("127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("localhost", "http://localhost"),
        ("https://gpu.example/comfy/", "https://gpu.example/comfy"),
        ("http://[::1]:8188", "http://[::1]:8188"),
        ("http://0.0.0.0:8188", "http://127.0.0.1:8188"),
        ("http://[::]:8188", "http://[::1]:8188"),
        ("ws://127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("wss://gpu.example", "https://gpu.example"),
        ("  http://GPU.example:80 ", "http://gpu.example:80"),
        ("http://u:p@gpu.example?token=t#x", "http://gpu.example"),
    ],
)
def test_ways_to_write_it(text: str, base: str) -> None:
    """Schemes, slashes, IPv6, prefixes and addresses to listen at all find the server."""
    assert Address.parse(text).base == base


@pytest.mark.parametrize("text", ["", "http://", "ftp://x", "http://x:port", "http://[::1", "file:///x"])
def test_what_is_no_address(text: str) -> None:
    """Anything else is a ValueError at once."""
    with pytest.raises(ValueError, match="the server's URL"):
        Address.parse(text)


def test_errors_repeat_no_password() -> None:
    """A URL that cannot be read is not repeated: it may hold a password."""
    with pytest.raises(ValueError, match="URL") as caught:
        Address.parse("http://u:s3cret@x:port")
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(Address.parse("http://u:s3cret@x"))


def test_urls() -> None:
    """HTTP and WebSocket URLs follow from the one base."""
    address = Address.parse("https://gpu.example/comfy")
    assert address.http("/prompt") == "https://gpu.example/comfy/prompt"
    assert address.websocket("/ws", clientId="a b") == "wss://gpu.example/comfy/ws?clientId=a+b"
    assert address.websocket("/ws") == "wss://gpu.example/comfy/ws"


def test_origins() -> None:
    """Scheme, host and port decide where credentials go; the usual ports are filled in."""
    assert origin_of("https://X.example/a") == origin_of("https://x.example:443")
    assert origin_of("http://x.example") != origin_of("https://x.example")
    assert origin_of("http://x.example") != origin_of("http://x.example.evil")
    assert Address.parse("https://cloud.comfy.org").is_cloud
    for nowhere in ("http://h:99999/", "http://h:x/", "http://[::1", "/x", ""):
        assert origin_of(nowhere) is None
    assert not Address.parse("https://cloud.comfy.org.evil").is_cloud
    assert Address.parse("http://[::1]").is_loopback


def test_default_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """COMFY_LOCAL_URL, then COMFY_BASE_URL, then ComfyUI's own; blank is unset."""
    monkeypatch.delenv("COMFY_LOCAL_URL", raising=False)
    monkeypatch.delenv("COMFY_BASE_URL", raising=False)
    assert default_base_url() == "http://127.0.0.1:8188"
    monkeypatch.setenv("COMFY_BASE_URL", "http://b")
    monkeypatch.setenv("COMFY_LOCAL_URL", " ")
    assert default_base_url() == "http://b"
    monkeypatch.setenv("COMFY_LOCAL_URL", "http://a")
    assert default_base_url() == "http://a"


def test_cloud_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cloud's own variable comes first."""
    monkeypatch.delenv("COMFY_CLOUD_API_KEY", raising=False)
    monkeypatch.delenv("COMFY_API_KEY", raising=False)
    assert cloud_api_key() is None
    monkeypatch.setenv("COMFY_API_KEY", "b")
    assert cloud_api_key() == "b"
    monkeypatch.setenv("COMFY_CLOUD_API_KEY", "a")
    assert cloud_api_key() == "a"


def test_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxy holds for both protocols, and never for this machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    far = Address.parse("http://gpu.example")
    assert far.environment_proxy() is None
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("all_proxy", "http://all:3128")
    assert str(far.environment_proxy()) == "http://proxy:3128 (http_proxy)"
    assert str(Address.parse("https://gpu.example").environment_proxy()) == "http://all:3128 (all_proxy)"
    assert Address.parse("http://127.0.0.1:8188").environment_proxy() is None
    monkeypatch.setenv("no_proxy", "gpu.example")
    assert far.environment_proxy() is None
