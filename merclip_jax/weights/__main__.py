"""Convert PyTorch weights to a folder that trainings start from, and back.

  python -m merclip_jax.convert --src=FILE --dst=DIR
  python -m merclip_jax.convert --src=hf://owner/name/file --src=VOCABULARY --dst=DIR
  python -m merclip_jax.convert --src=FILE --check
  python -m merclip_jax.convert --src=DIR --dst=FILE.safetensors --to=torch

Of several sources the first that has a video part gives it, and so for the text part.
`--check` prints a table of every tensor's way and exits with status 1 when anything is
unexplained; without --dst nothing is written. Families: docs/weights.md.
"""

import sys
from pathlib import Path

from absl import app, flags, logging

from merclip_jax.errors import UserError

SRC = flags.DEFINE_multi_string(
    "src", None, "File, folder or hf://owner/name/file; may be given again."
)
DST = flags.DEFINE_string("dst", "", "Folder to make, or file with --to=torch.")
CHECK = flags.DEFINE_bool("check", False, "Print the table of every tensor's way.")
TO = flags.DEFINE_enum("to", "flax", ["flax", "torch"], "Direction.")
INTO = flags.DEFINE_string(
    "into", "", "Fit CLIP's image tower into uniformer_v2 or factorized_vit."
)
NEW_HEAD = flags.DEFINE_bool("new_head", False, "Leave the last layer out.")


def main(argv: list[str]) -> None:
    """Convert; a UserError ends with its message and exit status 1."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    if not DST.value and not CHECK.value:
        raise app.UsageError("give --dst, --check or both")
    if TO.value == "torch" and (CHECK.value or INTO.value or NEW_HEAD.value):
        raise app.UsageError("--to=torch goes with --src and --dst alone")
    logging.set_verbosity(logging.ERROR)  # orbax tells of every file it writes
    try:
        _run(Path(DST.value).expanduser())
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")


def _run(dst: Path) -> None:
    from merclip_jax.weights import convert  # after the flags are read

    if TO.value == "torch":
        if len(SRC.value) > 1:
            raise app.UsageError("--to=torch takes one --src")
        count = convert.write_torch(SRC.value[0], dst)
        print(f"{dst}: {count} tensors under the authors' names")
        return
    found = convert.convert(SRC.value, into=INTO.value, new_head=NEW_HEAD.value)
    if CHECK.value:
        print(convert.report(found))
    if DST.value:
        convert.write_folder(found, dst)
        for part, module in found.modules().items():
            print(f"{dst}: {part}: {convert.describe(module)}")
    elif found.problems:
        sys.exit(f"error: {len(found.problems)} unexplained")


def run() -> None:
    """Read the flags and convert."""
    flags.mark_flag_as_required("src")
    app.run(main)


if __name__ == "__main__":
    run()
