"""Which dialect a server has: by the caller's choice, by its address, or by its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

from .._transport.http import HttpClient
from ..errors import AuthError, ComfyError, NotComfyUIError
from .api_v2 import ApiV2
from .cloud_v1 import CloudApi
from .comfyui import RunApi
from .dialect import Dialect, DialectName

__all__ = ["DialectChoice", "dialect_of", "what_answers"]

DialectChoice: TypeAlias = Literal["auto"] | DialectName

_BY_NAME: Final[Mapping[str, Callable[[HttpClient], Dialect]]] = {
    "comfyui": RunApi,
    "cloud-v1": CloudApi,
    "api-v2": ApiV2,
}


def dialect_of(choice: DialectChoice, http: HttpClient) -> Dialect:
    """Return the dialect for a server, before it has answered.

    Comfy Cloud and its deployments, `https://<deployment>.run.comfy.app`, are recognized by their address.

    Raises:
        ValueError: There is no such dialect.
    """
    if choice == "auto":
        choice = "api-v2" if http.address.speaks_v2 else "comfyui"
    if choice not in _BY_NAME:
        raise ValueError(f"dialect is one of 'auto', {', '.join(map(repr, _BY_NAME))}, not {choice!r}")
    return _BY_NAME[choice](http)


async def what_answers(api: Dialect, http: HttpClient) -> Dialect:
    """Find out what a server is; where no ComfyUI answers, API v2 is tried.

    A plain ComfyUI gets one request.

    Raises:
        NotComfyUIError: It is neither.
        ComfyError: It cannot be reached, or refuses.
    """
    try:
        await api.probe()
    except (NotComfyUIError, AuthError) as error:
        # One that wants its key as a bearer token refuses all others alike.
        prefix, turn_back = http.prefix, http.auth.turn_key_into_bearer()
        other = ApiV2(http)
        try:
            await other.probe()
        except ComfyError as failure:
            http.prefix = prefix
            turn_back()
            # The second request was ours to make: whoever was refused is told of the first.
            told = failure if isinstance(failure, AuthError) and isinstance(error, NotComfyUIError) else error
            raise told from None
        return other
    return api
