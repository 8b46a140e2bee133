"""How the library refuses: one line for a person, and an exit status that a script can tell from others."""

# Exit statuses of `python -m cifar_lib`; 0 is success, 1 whatever is none of these, 128 + N an end by signal N.
USAGE, DATA, CHECKPOINT, OUTPUT, NUMERIC, MEMORY, LOCKED = 2, 3, 4, 5, 6, 7, 75


def short(error: BaseException) -> str:
    """The error's message in one line of up to 200 characters; of an empty one the type's name."""
    return " ".join(str(error).split())[:200] or type(error).__name__


class UserError(ValueError):
    """What was given cannot be; the message is one line: what was given, what was expected, what to do.

    `status` is the command line's exit status.
    """

    status = USAGE

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in a notebook: the line, not the way to it."""
        return [f"{type(self).__name__}: {self}"]
