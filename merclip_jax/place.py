"""The place of a process among others: what is said of it, and who answers there."""

import re
import socket

from merclip_jax.errors import UserError


def check(address: str, count: int | None, index: int | None) -> None:
    """What a command line says of a process's place, before JAX is asked to take it.

    Args:
        address: host:port of process 0, or "".
        count: of processes.
        index: of this one.

    Raises:
        UserError: they do not go together, or the port is taken.
    """
    given = [address != "", count is not None, index is not None]
    if any(given) and not all(given):
        raise UserError(
            "--coordinator_address, --num_processes and --process_id go together: give "
            "all three, or none where SLURM, Open MPI, GKE or Cloud TPU say them"
        )
    if not address:
        return
    if not re.fullmatch(r".+:\d{1,5}", address):
        raise UserError(f"--coordinator_address={address}: expected HOST:PORT")
    if not (count >= 1 and 0 <= index < count):
        raise UserError(
            f"--process_id={index}, --num_processes={count}: expected a number from 0 "
            "to one less than their count"
        )
    if index == 0:
        _expect_free(int(address.rpartition(":")[2]))


def _expect_free(port: int) -> None:
    """Raises UserError for a port that is taken: JAX would crash."""
    kind = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    with socket.socket(kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except (OSError, OverflowError) as error:
            raise UserError(
                f"--coordinator_address: port {port} cannot be had here ({error}); "
                "give another"
            ) from error


def answers(address: str) -> bool:
    """Whether anything listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True
