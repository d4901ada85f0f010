"""What every dataset's TFDS builder shares; each adds its reader and its words."""

import abc
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.annotations import clip_features
from data_builders.examples import make
from data_builders.release import Release, refuse


class ClipBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """TFDS builder of a dataset that its owners hand out.

    A subclass states VERSION, BUILDER_CONFIGS, MANUAL_DOWNLOAD_INSTRUCTIONS and what
    stands below, and has a `read`. `python -m data_builders.build` writes its records
    restartably, in parallel and with little memory; TFDS's own `download_and_prepare`
    gives the same ones of a small dataset, with the pictures as they came.
    """

    DESCRIPTION = ""
    HOMEPAGE = ""
    LICENSE = ""
    CROPPED: frozenset[str] = frozenset()  # configs whose pictures are face crops
    SIZE = 224  # pixels of an aligned crop

    @classmethod
    @abc.abstractmethod
    def read(cls, manual_dir: Path, config: str) -> Release:
        """What lies in the owners' folder; opens tables and folders, no picture.

        Raises DatasetError when there is no such tree or table.
        """

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            features=clip_features(),
            metadata=tfds.core.MetadataDict(),
            homepage=self.HOMEPAGE,
            license=self.LICENSE,
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
