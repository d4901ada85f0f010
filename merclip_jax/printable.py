"""Text of unknown origin, made safe to show on a terminal or to put into a file."""

import re

# Control characters of ASCII and Latin-1, marks that turn the direction of text, zero
# widths, line separators, and halves of surrogate pairs, which no encoding can write.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Returns a text with every character that is not shown as itself written out.

    A terminal obeys escape sequences, so a name in a table could move the cursor or
    change the colours. Line feeds and tabs stay.
    """
    return _UNSAFE.sub(lambda match: ascii(match[0])[1:-1], text)


def spreadsheet_cell(text: str) -> str:
    """Returns a text that a spreadsheet does not take for a formula.

    One that begins with `=`, `+`, `-`, `@`, a tab or a return gets an apostrophe before
    it, the spreadsheets' own sign for text. See OWASP, CSV injection.
    """
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
