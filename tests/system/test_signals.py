"""A request to stop is a `Stopped` at once, or at the end of a save; who does not want to hear is left alone."""

import os
import signal
import threading

import pytest

from cifar_lib.system import signals


def ask(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", signals.REQUESTS)
def test_a_request_is_a_line_and_a_status(number):
    before = signal.getsignal(number)
    with pytest.raises(signals.Stopped, match="^stopped at epoch 7 of 300; the same") as stopped, signals.handle():
        signals.set_message("stopped at epoch 7 of 300; the same command continues")
        ask(number)
    assert stopped.value.status == 128 + number and isinstance(stopped.value, KeyboardInterrupt)
    assert stopped.value._render_traceback_() == ["stopped at epoch 7 of 300; the same command continues"]
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("requests", [1, 2])
def test_a_save_is_finished_first(requests):
    done = []
    with pytest.raises(signals.Stopped), signals.handle(), signals.defer():
        for _ in range(requests):
            ask(signal.SIGTERM)
        done.append("saved")
    assert done == ["saved"]


def test_a_failing_save_is_told_of_rather_than_the_request():
    with pytest.raises(OSError), signals.handle(), signals.defer():
        ask(signal.SIGINT)
        raise OSError("full")


def test_an_earlier_request_is_forgotten():
    with pytest.raises(signals.Stopped), signals.handle():
        ask(signal.SIGINT)
    with signals.handle(), signals.defer():
        pass


def test_what_is_ignored_stays_ignored():
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.handle():
            ask(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_listener_within_another_changes_nothing():
    with signals.handle():
        own = signal.getsignal(signal.SIGINT)
        with signals.handle(signal.SIGINT):
            assert signal.getsignal(signal.SIGINT) == own
        assert signal.getsignal(signal.SIGINT) == own


def test_in_another_thread_there_is_nothing_to_listen_to():
    failed = []

    def listen():
        try:
            with signals.handle():
                pass
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert failed == []
