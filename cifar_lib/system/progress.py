"""One live line while a training runs. No torch."""

import sys
from collections.abc import Callable
from html import escape


def duration(seconds: float) -> str:
    """`"2 h 05 min"`, `"3 min 20 s"` or `"8 s"`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def line(row: dict, max_epochs: int) -> str:
    """A row of the history in a line: epoch, losses, accuracies, speed, time left."""
    text = f"epoch {row['epoch']}/{max_epochs}  train {row['train_loss']:.3f} {row['train_accuracy']:.1%}"
    if row["valid_accuracy"] is not None:
        text += f"  valid {row['valid_loss']:.3f} {row['valid_accuracy']:.1%}"
    left = duration((max_epochs - row["epoch"]) * row["seconds"])
    return f"{text}  {row['images_per_second']:,.0f} img/s  {left} left"


def notebook_line(text: str) -> Callable[..., None]:
    """A line in a notebook, `text` at first, that is replaced at each call and leaves one clean output.

    A call takes the new text and, to stand under it until the next call that has one, HTML.
    """
    from IPython.display import display

    def bundle(text: str, below: str) -> dict:
        plain = {"text/plain": text}
        return plain | {"text/html": f"<pre>{escape(text)}</pre>\n{below}"} if below else plain

    kept, handle = {"below": ""}, display(bundle(text, ""), raw=True, display_id=True)

    def show(text: str, below: str | None = None) -> None:
        kept["below"] = kept["below"] if below is None else below
        handle.update(bundle(text, kept["below"]), raw=True)

    return show


class _Line:
    open = False  # whether stdout's last line is still to be ended


def begin_line(text: str) -> None:
    """Print the beginning of a line; `end_line` prints the rest."""
    print(text, end="", flush=True)
    _Line.open = True


def end_line(text: str = "") -> None:
    """End the line that was begun, where there is one, so that what comes next stands on its own."""
    if _Line.open:
        print(text, flush=True)
    _Line.open = False


def terminal_line(text: str) -> None:
    """Replace the terminal's current line; into a file, print the epochs and leave out the steps between."""
    if sys.stdout.isatty():
        begin_line(f"\r\033[K{text}")
    elif "  batch " not in text:
        print(text, flush=True)


def terminal_remark(text: str) -> None:
    """Print a line that stays, in the place of the terminal's current one."""
    print(f"\r\033[K{text}" if sys.stdout.isatty() else text, flush=True)
    _Line.open = False
