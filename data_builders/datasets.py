"""The datasets there are, and how one is asked for: "name" or "name/config"."""

from pathlib import Path

from data_builders.base import ClipBuilder
from data_builders.casme2.builder import Casme2
from data_builders.casme3.builder import Casme3
from data_builders.casme_sq.builder import CasmeSq
from data_builders.dfme.builder import Dfme
from data_builders.fourdme.builder import Fourdme
from data_builders.mmew.builder import Mmew
from data_builders.readers.findings import DatasetError, NotFoundError
from data_builders.readers.frame_numbers import AUTO
from data_builders.readers.release import Release
from data_builders.samm.builder import Samm
from data_builders.smic.builder import Smic
from data_builders.synthetic.builder import Synthetic

Builder = type[ClipBuilder] | type[Synthetic]
BUILDERS: dict[str, Builder] = {
    builder.name: builder
    for builder in (
        # In this order they are listed; the demo's first.
        *(Synthetic, Casme2, Samm, Casme3, Dfme),
        *(Smic, CasmeSq, Mmew, Fourdme),
    )
}


def known() -> list[str]:
    """Returns all names that `find` takes; one without config means its first."""
    return [
        f"{name}/{config}"
        for name, cls in BUILDERS.items()
        for config in cls.builder_configs
    ]


def find(dataset: str) -> tuple[Builder, str]:
    """Returns the builder class and the config's name.

    Raises:
        DatasetError: If there is no such dataset; lists those that there are.
    """
    name, _, config = dataset.partition("/")
    cls = BUILDERS.get(name)
    configs = list(cls.builder_configs) if cls else []
    if cls is None or (config and config not in configs):
        listed = "\n  ".join(known())
        raise DatasetError(f"no dataset {dataset!r}; there are\n  {listed}")
    return cls, config or configs[0]


def folder_of_owners(cls: Builder, manual_dir: Path | None) -> Path | None:
    """Sees that the folder of the owners' files is there.

    Args:
        cls: The dataset's builder.
        manual_dir: The folder that was given.

    Returns:
        Its resolved path, None for a dataset without owners.

    Raises:
        DatasetError: If there is none; says how to get the files.
    """
    if not issubclass(cls, ClipBuilder):
        return None
    if manual_dir is None:
        problem = f"{cls.name} needs --manual_dir, the folder of its owners' files"
    elif not manual_dir.expanduser().is_dir():
        problem = f"--manual_dir={manual_dir}: expected a folder, found none"
    else:
        return manual_dir.expanduser().resolve()
    raise NotFoundError(f"{problem}\n\n{cls.MANUAL_DOWNLOAD_INSTRUCTIONS}")


def release_of(
    cls: type[ClipBuilder], manual_dir: Path, config: str, frame_numbers: str = AUTO
) -> Release:
    """Reads the owners' folder: opens tables and folders, no picture.

    Args:
        cls: The dataset's builder.
        manual_dir: The owners' folder.
        config: The config's name.
        frame_numbers: How pictures are numbered, see `frame_numbers.READINGS`.

    Returns:
        What lies there.

    Raises:
        DatasetError: If it cannot be read. Where a table or a tree is not there, it
            says how to get the files.
    """
    try:
        return cls.read(manual_dir, config, frame_numbers)
    except NotFoundError as error:
        raise NotFoundError(f"{error}\n\n{cls.MANUAL_DOWNLOAD_INSTRUCTIONS}") from error
