"""The parts of one server, and what they need to know of each other."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import time
from typing import Any

from ._assets import AssetStore
from ._auth import Keeper
from ._books import Books
from ._capabilities import Capabilities
from ._classes import NodeClasses
from ._context import Workshop
from ._folders import Folders
from ._gates import Gates
from ._messages import text_frame
from ._queue import JobQueue
from ._rules import Rules
from ._sockets import SocketHub
from ._v2_board import Board

__all__ = ["Core", "Pace"]

_SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")
_LOG_LENGTH = 300
_MAX_UPLOAD_BYTES = 104_857_600


@dataclasses.dataclass(slots=True)
class Pace:
    """How long things take, in seconds, and what previews are made without being asked for.

    Attributes:
        step_seconds: A step of a sampler.
        history_delay: From execution_success to the history entry; a real server takes up to 0.5.
        preview_method: What `extra_data.preview_method` "default" means.
    """

    step_seconds: float = 0.0
    history_delay: float = 0.0
    preview_method: str = "none"


class Core:
    """The state of one server, shared by its routes, its worker and its faults.

    Attributes:
        life: Counts restarts, so that what belongs to the time before one is recognized.
        account: In the cloud, who stands in for every client.
        gatekeeper: What decides which requests are let in; all when None.
        users: Names by id of a server for several users, None when there is but one.
        served: What some routes answer with, by their name.
        assets: What it knows of its files, None where that is switched off.
        doomed: How the next runs fail outside of any node, as type and message.
        rules: What happens to requests besides being answered.
        v2: The jobs and assets of API v2, None where it is not served.
        speaks_plain: Whether it has ComfyUI's own routes, or the cloud's.
    """

    def __init__(
        self, *, capabilities: Capabilities, folders: Folders, pace: Pace, max_upload: int | None
    ) -> None:
        """Make the parts; nothing runs yet."""
        self.capabilities = capabilities
        self.folders = folders
        self.pace = pace
        self.max_upload = _MAX_UPLOAD_BYTES if max_upload is None else max_upload
        self.books = Books()
        self.classes = NodeClasses(folders)
        self.assets = AssetStore(folders) if capabilities.has("assets_on") else None
        self.gates = Gates()
        self.rules = Rules()
        self.workshop = Workshop()
        self.queue = JobQueue(self.announce_queue)
        self.account: str | None = None
        self.gatekeeper: Keeper | None = None
        self.users: dict[str, str] | None = None
        self.served: dict[str, dict[str, Any]] = {
            "extensions": {},
            "workflow_templates": {},
            "i18n": {},
            "global_subgraphs": {},
            "node_replacements": {},
        }
        self.v2: Board | None = None
        self.speaks_plain = True
        self.client_id: str | None = None
        self.current_node: str | None = None
        self.interrupting = False
        self.missed_cancels = 0
        self.doomed: collections.deque[tuple[str, str]] = collections.deque()
        self.next_number = 0
        self.life = 0
        self.logs: collections.deque[dict[str, str]] = collections.deque(maxlen=_LOG_LENGTH)
        self.log_listeners: set[str] = set()
        self.hub = SocketHub(
            self.books,
            queue_info=self.queue_info,
            current_node=self._node_of,
            server_features=self.features if capabilities.has("feature_flags") else None,
        )
        if capabilities.has("agent_status"):
            self.hub.greetings.append(text_frame("agent_status", {"state": "ready"}))
        self._terminal_told = False

    @property
    def features(self) -> dict[str, Any]:
        """What the server announces at GET /features and over the socket."""
        features: dict[str, Any] = {
            "supports_preview_metadata": True,
            "supports_model_type_tags": True,
            "max_upload_size": self.max_upload,
            "extension": {"manager": {"supports_v4": True}},
            "node_replacements": True,
            "assets": self.capabilities.has("assets_on"),
        }
        if not self.capabilities.has("node_replacements"):
            del features["node_replacements"]
        if not self.capabilities.has("assets_flag"):
            del features["assets"], features["supports_model_type_tags"]
        return features

    def queue_info(self) -> dict[str, Any]:
        """Return the body of `status` and GET /prompt."""
        return {"exec_info": {"queue_remaining": self.queue.remaining}}

    def announce_queue(self) -> None:
        """Send every client how long the queue is now."""
        self.hub.post(text_frame("status", {"status": self.queue_info()}), None)
        if self.v2 is not None:
            self.v2.refresh()
        self.books.touch()

    def take_secrets(self, extra_data: dict[str, Any]) -> dict[str, Any]:
        """Take the keys of partner nodes out of what is stored and shown."""
        if not self.capabilities.has("sensitive_stripping"):
            return {}
        return {key: extra_data.pop(key) for key in _SECRETS if key in extra_data}

    def stamp(self, extra_data: dict[str, Any]) -> None:
        """Note when a prompt came."""
        if self.capabilities.has("create_time"):
            extra_data["create_time"] = int(time.time() * 1000)

    def interrupt(self) -> None:
        """Ask the run that runs now, or the one that starts before it was cleared, to stop."""
        for item in self.queue.running:
            item.record.interrupts += 1
        if self.missed_cancels > 0:
            self.missed_cancels -= 1
            return
        self.interrupting = True

    def log(self, message: str) -> None:
        """Write a line to the log, which subscribed clients get at once."""
        now = datetime.datetime.now().isoformat()
        entry = {"t": now, "m": f"[INFO] {message}\n"}
        self.logs.append(entry)
        for sid in list(self.log_listeners):
            if sid not in self.hub.registered:
                self.log_listeners.discard(sid)
                continue
            size = None if self._terminal_told else {"cols": 80, "rows": 24}
            self._terminal_told = True
            self.hub.post(text_frame("logs", {"entries": [entry], "size": size}), sid)

    def die(self, *, history: bool) -> None:
        """Forget what a process that ends forgets, and let nothing of it be finished."""
        self.life += 1
        self.client_id = self.current_node = None
        self.interrupting = False
        self.next_number = 0
        self.logs.clear()
        self.log_listeners.clear()
        self.hub.shut()
        if self.v2 is not None:
            self.v2.die()
        if not history:
            self.books.forget(self.queue.history)
            self.folders.empty_temp()
        for item in self.queue.lose(history=history):
            self.books.end(item.record, "lost")

    def _node_of(self, sid: str) -> str | None:
        """Return the node that a reconnecting client is sent."""
        return self.current_node if self.client_id == sid else None
