"""What every dataset's TFDS builder shares; each adds its declaration and its words."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from data_builders.readers import macro, reader
from data_builders.readers.declaration import Table, Tree
from data_builders.readers.findings import refuse
from data_builders.readers.frame_numbers import AUTO
from data_builders.readers.macro import MacroExpressions, MacroTable
from data_builders.readers.release import Release
from data_builders.records.encode import make
from data_builders.records.features import clip_features


class ClipBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """TFDS builder of a dataset that its owners hand out.

    A subclass states VERSION, BUILDER_CONFIGS, MANUAL_DOWNLOAD_INSTRUCTIONS and what
    stands below. `python -m data_builders.build` writes its records restartably, in
    parallel and with little memory; TFDS's own `download_and_prepare` gives the same
    ones of a small dataset, with the pictures as they came.
    """

    DESCRIPTION: ClassVar[str] = ""
    HOMEPAGE: ClassVar[str] = ""
    LICENSE: ClassVar[str] = ""
    SIZE: ClassVar[int] = 224  # pixels of an aligned crop
    TREES: ClassVar[Mapping[str, Tree]]  # by config; the first is the default
    TABLE: ClassVar[Table]  # not of a dataset that has a `read` of its own
    MACRO_TABLE: ClassVar[MacroTable | None] = None  # of the same recordings

    @classmethod
    def read(cls, manual_dir: Path, config: str, frame_numbers: str = AUTO) -> Release:
        """Reads the owners' folder: opens tables and folders, no picture.

        Args:
            manual_dir: The owners' folder.
            config: The config's name.
            frame_numbers: How pictures are numbered, see `frame_numbers.READINGS`.

        Returns:
            What lies there.

        Raises:
            DatasetError: If there is no such tree or table.
        """
        tree = cls.TREES[config]
        return reader.read(cls.name, cls.TABLE, tree, config, manual_dir, frame_numbers)

    @classmethod
    def macro_expressions(cls, manual_dir: Path) -> MacroExpressions:
        """Finds what else the recordings show, which windows keep away from.

        Args:
            manual_dir: The owners' folder.

        Returns:
            Macro-expressions, none of a dataset without a table of them.

        Raises:
            DatasetError: If the table cannot be read.
        """
        if cls.MACRO_TABLE is None:
            return MacroExpressions()
        return macro.read(cls.MACRO_TABLE, manual_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            features=clip_features(),
            metadata=tfds.core.MetadataDict(),
            homepage=self.HOMEPAGE,
            license=self.LICENSE,
            # The order of clips is part of a dataset's identity.
            disable_shuffling=True,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator]:
        release = self.read(Path(dl_manager.manual_dir), self.builder_config.name)
        refuse(self.name, release.findings)
        return {s: self._generate_examples(release, s) for s in release.splits}

    def _generate_examples(self, release: Release, split: str) -> Iterator:
        for clip in release.clips:
            if clip.row.split == split:
                yield clip.row.clip, make(self.name, clip)[0]


def configs_of(trees: Mapping[str, Tree]) -> list[tfds.core.BuilderConfig]:
    """Returns TFDS's configs: one for each tree, of its name and description."""
    return [
        tfds.core.BuilderConfig(name=name, description=tree.description)
        for name, tree in trees.items()
    ]
