"""How the library refuses: one line for a person."""


class Refused(ValueError):
    """What was given cannot be; the message is one line: what was given, what was expected, what to do."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in a notebook: the line, not the way to it."""
        return [f"{type(self).__name__}: {self}"]
