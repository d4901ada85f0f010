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

from absl import flags

from merclip_jax.weights import __main__ as command

flags.adopt_module_key_flags(command)  # so that --help lists them


def run() -> None:
    """The command."""
    command.run(sys.modules[__name__])


if __name__ == "__main__":
    run()
