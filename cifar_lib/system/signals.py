"""A process that is asked to stop, by Ctrl-C, kill or a closed terminal, stops at once, but for a save. No torch."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

REQUESTS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
PLAIN = "stopped; the same command continues"


class Stopped(KeyboardInterrupt):
    """Asked to stop; the message is one line, `status` the shells' own: 128 and the signal's number."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.status = 128 + number

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in a notebook."""
        return [str(self)]


class _Requests:
    """The signal this process received, and the message it would stop with."""

    message = PLAIN
    number = 0  # of the signal
    holding = False


@contextmanager
def handle(*signals: signal.Signals) -> Iterator[None]:
    """Within it these signals (all of `REQUESTS` if none are given) raise `Stopped` in the main thread; but those that
    are ignored, as under nohup, or have somebody else's handler stay as they are."""
    main, default = threading.current_thread() is threading.main_thread(), (signal.SIG_DFL, signal.default_int_handler)
    ours = {s: signal.getsignal(s) for s in signals or REQUESTS if main and signal.getsignal(s) in default}
    if ours:
        _Requests.message, _Requests.number, _Requests.holding = PLAIN, 0, False
    for one in ours:
        signal.signal(one, _handle)
    try:
        yield
    finally:
        for one, before in ours.items():
            signal.signal(one, before)


def set_message(text: str) -> None:
    """Set the message of a stop from now on."""
    _Requests.message = text


@contextmanager
def defer() -> Iterator[None]:
    """Within it a request waits for the end of the block."""
    _Requests.holding = True
    try:
        yield
    finally:
        _Requests.holding = False
    if _Requests.number:
        raise Stopped(_Requests.message, _Requests.number)


def _handle(number: int, _frame) -> None:
    _Requests.number = number
    if not _Requests.holding:
        raise Stopped(_Requests.message, number)
