"""Proxies of the environment: those that cannot be used are told at once, and a dead one is named."""

from __future__ import annotations

import pytest

from comfy_async import ComfySession, ConnectError, Settings

FAR = "http://comfy.example:8188"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without any."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        for form in (name, name.upper()):
            monkeypatch.delenv(form, raising=False)


@pytest.mark.parametrize(
    ("variable", "proxy", "says"),
    [
        ("ALL_PROXY", "socks5://u:s3cret-word@127.0.0.1:1", r"httpx\[socks\].*python-socks"),
        ("all_proxy", "socks5h://127.0.0.1:1", r"httpx\[socks\].*python-socks"),
        ("ALL_PROXY", "socks://127.0.0.1:1", r"kind 'socks'.*socks5://.*httpx\[socks\].*python-socks"),
        ("http_proxy", "http://", "without a host"),
        ("HTTP_PROXY", "gopher://127.0.0.1:1", "kind 'gopher'"),
        ("HTTP_PROXY", "http://u:s3cret-word@h:port", "cannot be read"),
    ],
)
def test_proxies_that_cannot_be_used(
    variable: str, proxy: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the variable, what to install, and how to go without; never the password."""
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(ConnectError, match=rf"(?s){variable}.*{says}.*trust_env=False") as caught:
        ComfySession(FAR)
    assert "s3cret" not in str(caught.value)
    assert not caught.value.retryable
    ComfySession(FAR, trust_env=False)
    ComfySession("http://127.0.0.1:8188")


def test_the_settings_own_proxy() -> None:
    """It is named as what it is, and `trust_env` is no way out."""
    with pytest.raises(ConnectError, match=r"Settings\.proxy.*httpx\[socks\]") as caught:
        ComfySession(FAR, settings=Settings(proxy="socks5://127.0.0.1:1"))
    assert "trust_env" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["127.0.0.1:9", "http://u:s3cret-word@127.0.0.1:9"])
async def test_a_dead_proxy_is_named(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`host:port` alone means http; the error says which proxy, who named it, and how to go without."""
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(ConnectError) as caught:
        async with ComfySession(FAR):
            pass
    said = str(caught.value)
    assert "by way of the proxy http://127.0.0.1:9 (HTTP_PROXY)" in said
    assert FAR in said
    assert "trust_env=False" in said
    assert "s3cret" not in said


@pytest.mark.parametrize("value", ["日本", "grün", "a\nb", "\x00"])
def test_headers_that_cannot_be_sent(value: str) -> None:
    """A header that no request can carry is refused by the constructor, and not repeated."""
    with pytest.raises(ValueError, match="cannot be sent") as caught:
        ComfySession(FAR, headers={"X-Name": value})
    assert value not in str(caught.value)
    with pytest.raises(ValueError, match="name of a header"):
        ComfySession(FAR, headers={"grün": "x"})
