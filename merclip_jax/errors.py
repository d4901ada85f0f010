"""The exceptions that are meant for the person at the keyboard."""

import signal


class UserError(Exception):
    """Something the user can mend; `main` prints it without a traceback."""


class Stopped(KeyboardInterrupt):
    """A run that was asked to stop and has saved what it had.

    Args:
        number: of the signal that asked.
        message: where it stopped, and how it goes on.
    """

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.number = number

    def __str__(self) -> str:
        return f"{signal.Signals(self.number).name}: {self.args[0]}"
