"""A chat bot: `!draw` answers with a picture, one message that is edited while the job runs.

The network is left out: `Chat` stands where discord.py, a Slack or a Telegram client would.
What matters is the rest: one session for as long as the bot runs, a place in the queue for each
user, edits that are not too frequent for the chat's rate limit, and cancelling by a reaction.

Needs `pip install 'comfy-async[testing]'`, and a ComfyUI (`--server URL`) or its stand-in.

    python examples/chat_bot.py
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field

from example_server import PORTRAIT, open_session, parser

from comfy_async import (
    ComfyError,
    ComfySession,
    Job,
    JobCancelledError,
    JobError,
    NodeStarted,
    Progress,
    QueuePosition,
    Workflow,
)

SECONDS_BETWEEN_EDITS = 1.5
JOBS_PER_USER = 2


@dataclass
class Message:
    """A message in a channel, as far as a bot needs one."""

    author: str
    text: str
    files: list[str] = field(default_factory=list)

    async def edit(self, text: str) -> None:
        """Change what it says."""
        self.text = text
        print(f"  [bot] {text}")


class Chat:
    """A channel that prints what is said in it."""

    def __init__(self) -> None:
        """Start silent."""
        self.messages: list[Message] = []

    async def send(self, text: str, *, author: str = "bot", files: list[str] | None = None) -> Message:
        """Say something."""
        message = Message(author, text, files or [])
        self.messages.append(message)
        print(f"[{author}] {text}{f' {message.files}' if message.files else ''}")
        return message


class Bot:
    """Draws what people ask for."""

    def __init__(self, chat: Chat, comfy: ComfySession) -> None:
        """Use one session for everybody: a thousand jobs cost one socket."""
        self.chat = chat
        self.comfy = comfy
        self.workflow = Workflow.load(PORTRAIT)
        self.places: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(JOBS_PER_USER)
        )
        self.jobs: dict[str, Job] = {}
        self.started: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def on_message(self, message: Message) -> None:
        """Answer one message; a failure of one user's job is no failure of the bot."""
        if not message.text.startswith("!draw "):
            return
        reply = await self.chat.send("waiting for your other pictures…")
        async with self.places[message.author]:
            try:
                await self.draw(message, reply)
            except JobCancelledError:
                await reply.edit("cancelled")
            except JobError as error:
                await reply.edit(f"that went wrong: {error}")
            except ComfyError as error:
                await reply.edit(f"the server will not have it: {error.hint or error}")

    async def on_reaction(self, message: Message, emoji: str) -> None:
        """A cross under a request stops its job."""
        job = self.jobs.get(message.text)
        if emoji == "❌" and job is not None:
            await job.cancel()

    async def draw(self, message: Message, reply: Message) -> None:
        """Run the job and keep the reply up to date."""
        prompt = message.text.removeprefix("!draw ")
        variant = self.workflow.randomized().with_inputs({"6.text": prompt})
        edited_at = 0.0
        async with self.comfy.stream(variant, previews="none") as job:
            self.jobs[message.text] = job
            self.started[message.text].set()
            async for event in job:
                match event:
                    case QueuePosition(place):
                        # At once: a place changes once a job, progress many times a second.
                        await reply.edit(f"{place} before you" if place else "you are the next")
                    case Progress() | NodeStarted():
                        if time.monotonic() - edited_at >= SECONDS_BETWEEN_EDITS:
                            edited_at = time.monotonic()
                            await reply.edit(str(job.progress))
            result = await job
        await reply.edit(f"done in {result.duration:.1f} s")
        await self.chat.send(prompt, files=[file.filename for file in result.images])


async def main() -> None:
    """Let three people talk to the bot at once; one of them changes their mind."""
    options = parser(__doc__).parse_args()
    async with open_session(options.server) as comfy:
        chat = Chat()
        bot = Bot(chat, comfy)
        asked = [
            await chat.send(f"!draw {what}", author=who)
            for who, what in (("anna", "a fox"), ("anna", "a bear"), ("ben", "a boat"))
        ]
        async with asyncio.TaskGroup() as group:
            for message in asked:
                group.create_task(bot.on_message(message))
            await bot.started[asked[2].text].wait()
            await bot.on_reaction(asked[2], "❌")


if __name__ == "__main__":
    asyncio.run(main())
