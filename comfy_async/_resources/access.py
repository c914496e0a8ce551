"""The rest of the server: one object for each part of it, loaded when it is first used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from .host import Host

if TYPE_CHECKING:
    from .assets import Assets
    from .files import Files
    from .history import History
    from .jobs import Jobs
    from .models import Models
    from .nodes import Nodes
    from .queue import Queue
    from .requests import Requests
    from .settings_store import SettingsStore
    from .system import System
    from .userdata import UserData

__all__ = ["Resources"]


class Resources:
    """The parts of one server."""

    def __init__(self, host: Host) -> None:
        """Load nothing yet."""
        self._host = host

    @cached_property
    def files(self) -> Files:
        """Uploads and downloads."""
        from .files import Files

        return Files(self._host)

    @cached_property
    def nodes(self) -> Nodes:
        """The node classes of the server."""
        from .nodes import Nodes

        return Nodes(self._host)

    @cached_property
    def queue(self) -> Queue:
        """What waits and what runs."""
        from .queue import Queue

        return Queue(self._host)

    @cached_property
    def history(self) -> History:
        """What has run."""
        from .history import History

        return History(self._host)

    @cached_property
    def jobs(self) -> Jobs:
        """Jobs of every state in one list."""
        from .jobs import Jobs

        return Jobs(self._host)

    @cached_property
    def models(self) -> Models:
        """Checkpoints, LoRAs and the like."""
        from .models import Models

        return Models(self._host)

    @cached_property
    def system(self) -> System:
        """The server as a machine: memory, versions, logs."""
        from .system import System

        return System(self._host)

    @cached_property
    def userdata(self) -> UserData:
        """The files that the editor keeps for its users."""
        from .userdata import UserData

        return UserData(self._host)

    @cached_property
    def settings_store(self) -> SettingsStore:
        """The settings of the editor, as the server keeps them."""
        from .settings_store import SettingsStore

        return SettingsStore(self._host)

    @cached_property
    def assets(self) -> Assets:
        """Files by their content, where the server's asset system is switched on."""
        from .assets import Assets

        return Assets(self._host)

    @cached_property
    def requests(self) -> Requests:
        """Any route, by its path."""
        from .requests import Requests

        return Requests(self._host)

    @property
    def known_classes(self) -> tuple[str, ...]:
        """The class names of a catalog that was fetched already, () before."""
        return self.nodes.known_classes if "nodes" in self.__dict__ else ()
