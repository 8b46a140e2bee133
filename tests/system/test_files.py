"""A file is there whole or as it was, and its predecessor with it."""

import os

import pytest

from cifar_lib.system import files


def failing(monkeypatch, name: str) -> None:
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, name, fail)


def test_the_file_before_is_kept(tmp_path):
    path, previous = tmp_path / "a", tmp_path / "b"
    for data, before in ((b"1", None), (b"22", b"1"), (b"333", b"22")):
        files.write_atomically(path, data, previous)
        assert path.read_bytes() == data and (previous.read_bytes() if previous.exists() else None) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_without_hard_links_it_is_copied(tmp_path, monkeypatch):
    failing(monkeypatch, "link")
    path, previous = tmp_path / "a", tmp_path / "b"
    files.write_atomically(path, b"1", previous)
    files.write_atomically(path, b"2", previous)
    assert (path.read_bytes(), previous.read_bytes()) == (b"2", b"1") and not os.path.samefile(path, previous)


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, name):
    path, previous = tmp_path / "a", tmp_path / "b"
    files.write_atomically(path, b"1", previous)
    files.write_atomically(path, b"2", previous)
    failing(monkeypatch, name)
    with pytest.raises(
        files.OutputError, match=r"a: not written, the disk is full \(3 bytes needed, [\d,]+ free\); make"
    ):
        files.write_atomically(path, b"333", previous)
    assert path.read_bytes() == b"2" and sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_an_interrupt_leaves_what_was_there(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    files.write_atomically(tmp_path / "a", b"1")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"1" and len(list(tmp_path.iterdir())) == 1


def test_short_writes_are_gone_on_with(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:7]))
    files.write_atomically(tmp_path / "a", bytes(range(100)))
    files.append(tmp_path / "a", b"x" * 50)
    assert (tmp_path / "a").read_bytes() == bytes(range(100)) + b"x" * 50


def test_appending_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    write, calls = os.write, []

    def half(handle, data):
        calls.append(data)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return write(handle, data[:3])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(files.OutputError, match="the disk is full"):
        files.append(path, b"and after")
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_file_is_as_open_as_the_umask_lets_it(tmp_path, mask):
    before = os.umask(mask)
    try:
        files.write_atomically(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask
