"""What of a text is a URL, and what is a file on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest
from store_tools import Faults, store  # noqa: F401 - the second is a fixture

from comfy_async._base.places import hide_password, is_stored, on_this_machine, said, scheme_of, where


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("s3://bucket/out", "s3"),
        ("GS://bucket", "gs"),
        ("memory://", "memory"),
        ("git+ssh://h/x", "git+ssh"),
        ("C:\\out", None),
        ("C:/out", None),
        ("C://out", None),
        ("c:\\\\server\\x", None),
        ("file.with:colon", None),
        ("with:colon/x.png", None),
        ("out/s3://x", None),
        ("://x", None),
        ("1a://x", None),
        ("s3:/bucket", None),
        ("", None),
        (Path("s3://bucket"), None),
        (None, None),
    ],
)
def test_what_is_a_url(text: object, scheme: str | None) -> None:
    """`scheme://` at its beginning, of two characters at least, in a text."""
    assert scheme_of(text) == scheme


@pytest.mark.parametrize(
    "name", ["C:\\out", "file.with:colon", "with:colon/x.png", "out/s3://x", "s3:/bucket"]
)
def test_local_names_stay_local(name: str) -> None:
    """However odd."""
    assert where(name) == Path(name)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///tmp/out", "/tmp/out"),
        ("file://localhost/tmp/out", "/tmp/out"),
        ("local:///tmp/my%20out/100%.png", "/tmp/my out/100%.png"),
        ("FILE:///tmp/cat_{seed}.png", "/tmp/cat_{seed}.png"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="there they have drives")
def test_file_urls(url: str, path: str) -> None:
    """Are files on this machine, with escapes as everybody writes them."""
    assert where(url) == Path(path)
    assert said(f"{url}/", Path(path)) == f"{path}/"


def test_another_machine() -> None:
    """Is not this one."""
    with pytest.raises(ValueError, match="another machine, 'server'"):
        where("file://server/share/x")


def test_a_url_that_was_made_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would go into a folder called `s3:`, which nobody wants; unless there is one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="a path holds no URL: give the text 's3://...'"):
        where(Path("s3://bucket/out"))
    (tmp_path / "s3:").mkdir()
    assert where(Path("s3:/bucket/out")) == Path("s3:/bucket/out")
    assert where(Path("note:")) == Path("note:")


def test_options_are_for_stores() -> None:
    """And for nothing else."""
    with pytest.raises(ValueError, match="storage_options are for URLs"):
        where("out", {"key": "k"})
    with pytest.raises(TypeError, match="int is no place"):
        where(3)  # type: ignore[arg-type]


def test_objects_of_fsspec(store: Faults) -> None:  # noqa: F811
    """Are told by what they have."""
    opened = fsspec.open("memory://a.png")
    assert is_stored(opened)
    assert where(opened) is None
    assert not any(map(is_stored, ["memory://a.png", Path("a"), b"", None, 3, os, Path, {}]))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sftp://anna:s3cret@host/x@y", "sftp://anna@host/x@y"),
        ("sftp://anna@host/x", "sftp://anna@host/x"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("ftp://:s3cret@host", "ftp://@host"),
        ("no url: a@b", "no url: a@b"),
    ],
)
def test_passwords(url: str, shown: str) -> None:
    """Are never shown; the user is."""
    assert hide_password(url) == shown


def test_what_only_this_machine_holds(store: Faults, tmp_path: Path) -> None:  # noqa: F811
    """A URL of a store is refused in words, without its password; everything local is taken."""
    assert on_this_machine(tmp_path, "it") == on_this_machine(tmp_path.as_uri(), "it") == tmp_path
    with pytest.raises(ValueError, match="^it is a file on this machine: 'sftp://anna@host/x' is a place"):
        on_this_machine("sftp://anna:s3cret@host/x", "it")
    with pytest.raises(ValueError, match="OpenFile is a place in a store"):
        on_this_machine(fsspec.open("memory://a.png"), "it")
    with pytest.raises(ValueError, match="a path holds no URL"):
        on_this_machine(Path("s3://bucket/x"), "it")
