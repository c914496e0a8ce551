"""The pytest plugin in other people's test runs: found by entry point, quiet until it is asked."""

from __future__ import annotations

import sys

import pytest

pytest_plugins = ["pytester"]

PICTURE = """
PICTURE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "p"}},
}
"""

STRICT = (
    "[pytest]\nfilterwarnings = error\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"
)


def run(pytester: pytest.Pytester, *args: str, ini: str = STRICT) -> pytest.RunResult:
    """Run the tests of a project in a process of its own."""
    pytester.makeini(ini)
    return pytester.runpytest_subprocess("-q", *args)


def test_it_imports_nothing_until_it_is_asked(pytester: pytest.Pytester) -> None:
    """In a run that does not use it nothing of the library is loaded but its empty face."""
    pytester.makepyfile(
        """
        import sys

        def test_quiet():
            ours = [name for name in sys.modules if name.startswith("comfy_async")]
            assert sorted(ours) == [
                "comfy_async",
                "comfy_async.testing",
                "comfy_async.testing._plugin_asyncio",
                "comfy_async.testing.plugin",
            ]
            assert not {"websockets", "pydantic", "aiohttp", "PIL"} & set(sys.modules)
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_server_and_session_in_the_loop_of_the_test(pytester: pytest.Pytester) -> None:
    """Under pytest-asyncio in strict mode, whatever the scope of the test's loop, and with options."""
    pytester.makepyfile(
        PICTURE
        + """
import pytest

@pytest.mark.asyncio
async def test_plain(comfy_server, comfy_session):
    assert (await comfy_session.run(PICTURE)).images
    assert len(comfy_server.books.runs) == 1

@pytest.mark.asyncio(loop_scope="module")
async def test_shared_loop(comfy_session):
    assert (await comfy_session.run(PICTURE)).images

@pytest.mark.asyncio
@pytest.mark.comfy_server(version="0.3.40", models={"checkpoints": ["mine.safetensors"]})
@pytest.mark.comfy_session(transport="poll")
async def test_options(comfy_server, comfy_session):
    assert (await comfy_session.run(PICTURE)).images
    assert comfy_session.server.version == "0.3.40"
    assert comfy_server.books.sockets_opened == 0

@pytest.mark.anyio
async def test_anyio(comfy_server, comfy_session, anyio_backend):
    assert (await comfy_session.run(PICTURE)).images

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""
    )
    run(pytester, "--strict-markers").assert_outcomes(passed=4)


def test_auto_mode_and_plain_tests(pytester: pytest.Pytester) -> None:
    """In auto mode no marker is needed; a test that is not async gets a server in a thread."""
    pytester.makepyfile(
        PICTURE
        + """
import asyncio
from comfy_async import ComfySession

async def test_async(comfy_session):
    assert (await comfy_session.run(PICTURE)).images

def test_sync(comfy_server):
    async def go():
        async with ComfySession(comfy_server.url) as comfy:
            return await comfy.run(PICTURE)
    assert asyncio.run(go()).files
    assert len(comfy_server.books.runs) == 1

def test_sync_session(comfy_session):
    pass
"""
    )
    result = run(pytester, ini=STRICT.replace("strict", "auto"))
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*comfy_session is for async tests*"])


def test_faults_by_marker(pytester: pytest.Pytester) -> None:
    """Faults of the module and of the test hold both; a misspelled one is told with the real names."""
    pytester.makepyfile(
        PICTURE
        + """
import pytest
from comfy_async import ConnectError, RequestTimeoutError, ResponseError

pytestmark = [pytest.mark.asyncio, pytest.mark.comfy_faults("slow_history", 0.01)]

@pytest.mark.comfy_faults("fail", "POST", "/prompt", "reset", count=1, after_effect=True)
async def test_lost_answer(comfy_server, comfy_session):
    assert (await comfy_session.run(PICTURE)).images
    assert len(comfy_server.books.accepted) == 1
    assert comfy_server.core.pace.history_delay == 0.01

@pytest.mark.comfy_faults("go_down")
async def test_nobody_there(comfy_session):
    with pytest.raises(ConnectError):
        await comfy_session.run(PICTURE)

@pytest.mark.comfy_faults("chaos", seed=3, rate=20)
async def test_chaos(comfy_session):
    assert (await comfy_session.run(PICTURE)).files

@pytest.mark.comfy_faults("fial", "POST")
async def test_misspelled(comfy_server):
    pass
"""
    )
    result = run(pytester)
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*there is no fault 'fial'*refuse_upgrades*"])


def test_recordings(pytester: pytest.Pytester) -> None:
    """The same test records from a server when it is asked to, and replays the file ever after."""
    pytester.makepyfile(
        PICTURE
        + """
import pytest

@pytest.mark.asyncio
@pytest.mark.comfy_recording("picture.jsonl")
async def test_recorded(comfy_recording):
    async with comfy_recording.session() as comfy:
        result = await comfy.run(PICTURE)
        assert (await result.images[0].image()).size == (8, 8)

@pytest.mark.asyncio
async def test_unmarked(comfy_recording):
    pass

@pytest.mark.comfy_recording("picture.jsonl")
def test_sync(comfy_recording):
    pass
"""
    )
    result = run(pytester, "-k", "recorded")
    result.assert_outcomes(errors=1, deselected=2)
    result.stdout.fnmatch_lines(["*--comfy-record=URL*"])
    serve = pytester.makepyfile(
        serve="""
        import asyncio, sys, subprocess
        from comfy_async.testing import FakeComfy

        async def main():
            async with FakeComfy() as fake:
                command = [sys.executable, "-m", "pytest", "-k", "recorded", f"--comfy-record={fake.url}"]
                process = await asyncio.create_subprocess_exec(*command)
                sys.exit(await process.wait())

        asyncio.run(main())
        """
    )
    assert pytester.run(sys.executable, serve).ret == 0
    assert (pytester.path / "picture.jsonl").exists()
    run(pytester).assert_outcomes(passed=1, errors=2)


def test_without_a_plugin_for_async_tests(pytester: pytest.Pytester) -> None:
    """Nobody runs async tests there: the fixture says what is missing."""
    pytester.makeconftest(
        """
        import asyncio, inspect, pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_pyfunc_call(pyfuncitem):
            return True if inspect.iscoroutinefunction(pyfuncitem.obj) else None
        """
    )
    pytester.makepyfile("async def test_it(comfy_server):\n    pass\n")
    result = run(pytester, "-p", "no:asyncio", ini="[pytest]\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*takes pytest-asyncio, or anyio's own plugin*"])
