"""The page in a real browser: filled in, sent, watched; narrow and wide, light and dark."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from session_tools import teach
from web_tools import BREAK, INVERT, Web, no_longer_patient, png, served

from comfy_async import ComfySession
from comfy_async.testing import FakeComfy
from comfy_async.web import Limits, routes

playwright = pytest.importorskip("playwright.async_api", reason="the page is driven by playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("the page is looked at in chromium", allow_module_level=True)

SD15 = Path(__file__).parents[2] / "examples" / "workflows" / "sd15_text2image_api.json"
LOOKS = [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")]


@pytest.fixture
async def chromium() -> AsyncIterator[Any]:
    """A browser for one test."""
    async with playwright.async_playwright() as started:
        browser = await started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
def limits() -> Limits:
    """What the site accepts."""
    return Limits()


@pytest.fixture
async def web(fake: FakeComfy, limits: Limits) -> AsyncIterator[Web]:
    """A site with an app that paints, one that takes a file, and one that fails."""
    teach(fake)
    async with fake.session(previews="latent2rgb") as comfy:
        apps = {
            "Portrait": await comfy.app(SD15),
            "Invert": await comfy.app(INVERT, inputs={"photo": "1.image"}, outputs={"picture": "3"}),
            "Break": await comfy.app(BREAK, inputs={"seed": "1.seed"}),
        }
        async with served(routes(apps, comfy, limits=limits)) as web:
            yield web


class Tab:
    """A page, and all that went wrong in it.

    Attributes:
        page: What playwright steers.
        errors: Exceptions, and what the content policy has refused.
    """

    def __init__(self, page: Any) -> None:
        """Listen from the beginning."""
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note)

    def _note(self, message: Any) -> None:
        # A refusal of ours is one that was meant.
        if message.type == "error" and "status of 4" not in message.text:
            self.errors.append(message.text)

    async def text(self, selector: str) -> str:
        """Return what an element says."""
        await self.page.wait_for_selector(selector)
        found: str = await self.page.inner_text(selector)
        return found

    async def fits(self) -> bool:
        """Say whether nothing sticks out at the side."""
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        return bool(await self.page.evaluate(wide))


async def opened(chromium: Any, url: str, *, width: int = 1280, theme: str = "light") -> Tab:
    """Open an address in a new tab."""
    context = await chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    tab = Tab(await context.new_page())
    await tab.page.goto(url)
    return tab


async def test_from_the_form_to_the_picture(chromium: Any, web: Web, fake: FakeComfy) -> None:
    """Filled in and sent; its place, its progress and a preview are seen, then the picture itself."""
    for width, theme in LOOKS:
        tab = await opened(chromium, web.url, width=width, theme=theme)
        await paint(tab, web, fake)
        assert tab.errors == []
        await tab.page.close()


async def paint(tab: Tab, web: Web, fake: FakeComfy) -> None:
    """Go from the list of apps to a picture, and look on the way."""
    page = tab.page
    await page.click("text=Portrait")
    await page.fill("[name=prompt]", "a <b>fox</b>")
    fake.hold()
    ahead = await web.post("break")
    await page.click("button[type=submit]")
    await page.wait_for_selector("text=1 job comes first")
    assert "waiting" in await tab.text(".chip")
    with fake.gate("KSampler", step=5) as gate:
        fake.release()
        await gate.reached()
        await page.wait_for_selector("img.preview")
        await page.wait_for_selector("text=KSampler")
        assert 0 < await page.evaluate("document.querySelector('progress').value") < 1
        assert await tab.fits()
    await page.wait_for_selector("figure img")
    await page.wait_for_function("document.querySelector('figure img').naturalWidth > 0")
    assert await tab.text(".chip") == "done"
    assert await tab.fits()
    assert (await web.state(ahead))["status"] == "failed"
    # Loaded anew, the address leads back to it.
    await page.reload()
    await page.wait_for_selector("figure img")


async def test_a_failure_is_shown_with_its_advice(chromium: Any, web: Web) -> None:
    """Where, what, and what to do; a title of a stranger is text and nothing else."""
    for width, theme in LOOKS:
        tab = await opened(chromium, f"{web.url}/apps/break/", width=width, theme=theme)
        await tab.page.click("button[type=submit]")
        told = await tab.text(".box.bad")
        assert "Draw <b>text</b>: RuntimeError: broken" in told
        assert "log" in told
        assert await tab.text(".chip") == "failed"
        assert await tab.fits()
        assert tab.errors == []
        await tab.page.close()


async def test_a_wrong_value_is_told_at_its_field(chromium: Any, web: Web, fake: FakeComfy) -> None:
    """With the focus in it, for eyes and for screen readers; nothing is sent to the ComfyUI."""
    tab = await opened(chromium, f"{web.url}/apps/portrait/")
    page = tab.page
    await page.fill("[name=steps]", "999999")
    await page.press("[name=steps]", "Enter")
    await page.wait_for_selector("[aria-invalid=true]")
    assert await page.evaluate("document.activeElement.name") == "steps"
    described = await page.get_attribute("[name=steps]", "aria-describedby")
    assert "too large" in await tab.text(f"#{described.split()[-1]}")
    assert fake.books.count("POST", "/prompt") == 0
    await page.fill("[name=steps]", "5")
    await page.click("button[type=submit]")
    await page.wait_for_selector("figure img")
    assert await page.query_selector("[aria-invalid=true]") is None
    assert tab.errors == []


async def test_a_picture_is_uploaded_and_seen_before(chromium: Any, web: Web, fake: FakeComfy) -> None:
    """A file of the visitor goes up, with a thumbnail beside it."""
    tab = await opened(chromium, f"{web.url}/apps/invert/")
    file = {"name": "me.png", "mimeType": "image/png", "buffer": png()}
    await tab.page.set_input_files("[name=photo]", file)
    await tab.page.wait_for_selector("img.thumb", state="visible")
    await tab.page.click("button[type=submit]")
    await tab.page.wait_for_selector("figure img")
    assert len(fake.books.uploads) == 1
    assert tab.errors == []


async def test_cancelling_and_leaving(chromium: Any, web: Web, fake: FakeComfy, limits: Limits) -> None:
    """The button cancels; a closed page does so only when the box was ticked."""
    tab = await opened(chromium, f"{web.url}/apps/portrait/")
    page = tab.page
    fake.hold()
    await page.click("button[type=submit]")
    await page.click("button:has-text('Cancel')")
    await page.wait_for_selector(".chip.cancelled")
    await page.click("button[type=submit]")
    await page.wait_for_selector(".chip.pending")
    await page.check("#leave")
    await page.click("button[type=submit]")
    await fake.wait_for(lambda books: fake.core.queue.remaining == 2)
    await page.wait_for_selector("text=1 job comes first")
    no_longer_patient(limits)
    await page.close()
    await fake.wait_for(lambda books: fake.core.queue.remaining == 1)


async def test_it_is_used_by_keyboard_alone(chromium: Any, web: Web) -> None:
    """Each control has a name and can be reached; the first stop leads past the head of the page."""
    tab = await opened(chromium, f"{web.url}/apps/portrait/")
    page = tab.page
    await page.wait_for_selector("form")
    unnamed = """[...document.querySelectorAll('input, select, textarea, button')].filter(
        (one) => !one.labels?.length && !one.textContent.trim() && !one.getAttribute('aria-label'))"""
    assert await page.evaluate(f"{unnamed}.length") == 0
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(40):
        await page.keyboard.press("Tab")
        reached.add(await page.evaluate("document.activeElement.name || document.activeElement.type"))
    assert {"prompt", "steps", "submit"} <= reached
    await page.focus("button[type=submit]")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("figure img")
    assert "done" in await page.inner_text("#live")


async def test_a_site_whose_comfyui_is_away(chromium: Any, fake: FakeComfy, free_port: int) -> None:
    """What to do is said, and trying again works once it is there."""
    async with ComfySession(f"http://127.0.0.1:{free_port}", connect="lazy") as comfy:
        async with served(routes(SD15, comfy)) as web:
            tab = await opened(chromium, web.url)
            assert "does not answer" in await tab.text(".box.bad")
            async with FakeComfy(port=free_port):
                await tab.page.click("button")
                await tab.page.wait_for_selector(".tile")
