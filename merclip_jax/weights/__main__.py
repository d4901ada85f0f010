"""The command that converts: `python -m merclip_jax.convert`, which has its help."""

import functools
import sys
from pathlib import Path
from types import ModuleType

from absl import app, flags, logging

from merclip_jax import command
from merclip_jax.errors import UserError
from merclip_jax.files import expanded
from merclip_jax.printable import printable

SRC = flags.DEFINE_multi_string(
    "src", None, "File, folder or hf://owner/name/file; may be given again."
)
DST = flags.DEFINE_string("dst", "", "Folder to make, or file with --to=torch.")
CHECK = flags.DEFINE_bool("check", False, "Print the table of every tensor's way.")
TO = flags.DEFINE_enum("to", "flax", ["flax", "torch"], "Direction.")
INTO = flags.DEFINE_string(
    "into", "", "Fit CLIP's image tower into uniformer_v2 or factorized_vit."
)
WEIGHTS = flags.DEFINE_string(
    "weights", "", "Which set of a file's weights: raw, ema or a name of --check."
)
NEW_HEAD = flags.DEFINE_bool("new_head", False, "Leave the last layer out.")


def main(argv: list[str]) -> None:
    """Convert; a UserError ends with its message and exit status 1."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    if not DST.value and not CHECK.value:
        raise app.UsageError("give --dst, --check or both")
    if TO.value == "torch" and (
        CHECK.value or INTO.value or NEW_HEAD.value or WEIGHTS.value
    ):
        raise app.UsageError("--to=torch goes with --src and --dst alone")
    logging.set_verbosity(logging.ERROR)  # orbax tells of every file it writes
    dst = expanded(DST.value)
    try:
        _to_torch(dst) if TO.value == "torch" else _to_flax(dst)
    except (UserError, OSError) as error:
        sys.exit(printable(f"error: {error}"))


def run(module: ModuleType | None = None) -> None:
    """Read the flags and convert; `module`: whose help is printed."""
    flags.mark_flag_as_required("src")
    app.run(main, flags_parser=functools.partial(command.parse, module=module))


# jax and orbax take seconds to import: only when the flags are right.
def _to_torch(dst: Path) -> None:
    from merclip_jax.weights import export

    if len(SRC.value) > 1:
        raise app.UsageError("--to=torch takes one --src")
    tensors, left = export.write_torch(SRC.value[0], dst)
    print(printable(f"{dst}: {tensors} tensors under the authors' names"))
    for what in left:
        print(printable(f"{dst}: not in it: {what}, which the authors' files lack"))


def _to_flax(dst: Path) -> None:
    from merclip_jax.weights import convert, fitting, table

    found = convert.convert(
        SRC.value, into=INTO.value, new_head=NEW_HEAD.value, weights=WEIGHTS.value
    )
    if CHECK.value:
        print(printable(table.report(found)))
    if DST.value:
        convert.write_folder(found, dst)
        for kind, module in found.modules.items():
            print(printable(f"{dst}: {kind}: {fitting.describe(module)}"))
    elif found.problems:
        sys.exit(f"error: {len(found.problems)} unexplained")


if __name__ == "__main__":
    run()
