"""The one exception that is meant for the person at the keyboard."""


class UserError(Exception):
    """Something the user can mend; `main` prints it without a traceback."""
