"""DFME: micro-expressions at 200 to 500 fps, seven emotions (Zhao et al., 2023).

README.md beside this file: access, layout, oddities, and what the licence asks of you.
"""

from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.base import ClipBuilder, configs_of
from data_builders.dfme import ccac, full
from data_builders.readers.declaration import Tree
from data_builders.readers.frame_numbers import AUTO
from data_builders.readers.release import Release

TREES = {
    "ccac": Tree(
        folder="train_data",
        description="publicly available part (CCAC2024): splits train, test_a, test_b; "
        "camera frames",
    ),
    "full": Tree(
        folder="micro",
        description="full release, parts A to D: camera frames",
    ),
    "full_cropped": Tree(
        # The owners' spelling, then what somebody may have made of it.
        folder="micro_static_aligned_croped",
        also=("micro_static_aligned_cropped",),
        description="full release, parts A to D: aligned face crops",
        cropped=True,
    ),
}


class Dfme(ClipBuilder):
    """DFME; configs: ccac (default), full, full_cropped."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = configs_of(TREES)
    TREES = TREES
    DESCRIPTION = "DFME spontaneous micro-expressions at up to 500 frames per second"
    HOMEPAGE = "https://mea-lab-421.github.io"
    LICENSE = (
        "licence signed by a supervisor; academic use only; no passing samples to "
        "third parties; some faces may not be shown"
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
DFME may not be passed on: each group applies to its owners.
1. Apply: https://mea-lab-421.github.io (DFME_license.pdf signed by a supervisor;
   academic use only; samples go to no third party; some faces may not be shown).
2. Put the files into one folder, unpacked, for example ~/data/DFME:
     ~/data/DFME/full_release_annotation/training_full_with_AU.xlsx       dfme/ccac
     ~/data/DFME/full_release_annotation/test{A,B}_full_with_AU.xlsx      dfme/ccac
     ~/data/DFME/train_data/train_data/sub0003_01/00109.png ...           dfme/ccac
     ~/data/DFME/test_data_A/test_data_A/sub0008_01/...  (and B)          dfme/ccac
     ~/data/DFME/USTC_MEv4_partA_sub0001_sub0015/micro/anger/...          dfme/full
     .../micro_static_aligned_croped/anger/...                    dfme/full_cropped
   One of the three is enough.
3. Type:
     python -m data_builders.build --dataset=dfme/ccac --manual_dir=~/data/DFME
"""

    @classmethod
    def read(cls, manual_dir: Path, config: str, frame_numbers: str = AUTO) -> Release:
        if config == "ccac":
            return ccac.read(cls.name, manual_dir, frame_numbers)
        return full.read(cls.name, cls.TREES[config], config, manual_dir, frame_numbers)
