"""Numbers of things in sentences."""


def counted(number: int, noun: str) -> str:
    """Such as "1 clip" and "2 clips"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
