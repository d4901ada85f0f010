"""What a run's last bits depend on beside its settings: devices, jax, the compiler."""

import os
from collections.abc import Mapping

import jax
import jaxlib


def machine() -> dict[str, object]:
    """The devices at hand and what compiles for them, as plain JSON values.

    Another number or kind of devices, another jaxlib or other XLA flags sum in another
    order: a run that went on there would not be the run that began here, bit for bit.
    """
    flags = os.environ.get("XLA_FLAGS", "").split()
    return {
        "devices": jax.device_count(),
        "kind": jax.devices()[0].device_kind,
        "processes": jax.process_count(),
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        # Dumps change no number; how many devices there are stands above.
        "xla_flags": sorted(
            flag
            for flag in flags
            if not flag.startswith(("--xla_dump", "--xla_force_host_platform"))
        ),
    }


def name_of(found: Mapping[str, object]) -> str:
    """A machine in a line, such as "4 x cpu, jax 0.10.2, jaxlib 0.10.2"."""
    parts = [f"{found['devices']} x {found['kind']}"]
    if found["processes"] != 1:
        parts.append(f"{found['processes']} processes")
    parts += [f"jax {found['jax']}", f"jaxlib {found['jaxlib']}", *found["xla_flags"]]
    return ", ".join(parts)
