"""Which hypervisor a user means: by the folder it runs in, or by address."""

from __future__ import annotations

from pathlib import Path

from launch.cluster.control import Control
from launch.errors import UsageError
from launch.live.access import HypervisorAccess, running_hosts
from launch.results import RUNS


def attach(target: str | None, host: str | None, secret_file: Path | None) -> tuple[str, Control]:
    """(what to call it, its control); without a target, of what runs below runs/.

    UsageError, with the cure, when nothing runs there.
    """
    if target is not None and "://" in target:
        return target, Control(target, _read_secret(target, secret_file))
    folders = (
        [Path(target)] if target is not None else [one for one in RUNS.glob("*") if not one.is_symlink()]
    )
    hosts = [one for folder in sorted(folders) for one in running_hosts(folder)]
    access = _choose(target or str(RUNS), hosts, host)
    return access.host, Control(access.endpoints["toolstacks"], bytes.fromhex(access.control_secret))


def _choose(target: str, hosts: list[HypervisorAccess], wanted: str | None) -> HypervisorAccess:
    if not hosts:
        raise UsageError(
            f"{target}: no hypervisor runs there: name the folder of a run that goes on, or of claimlab serve"
        )
    found = [one for one in hosts if wanted in (None, one.host)]
    if len(found) != 1:
        names = ", ".join(one.host for one in hosts)
        raise UsageError(f"{target}: {len(hosts)} hosts run there: choose one with --host: {names}")
    return found[0]


def _read_secret(address: str, path: Path | None) -> bytes:
    if path is None:
        raise UsageError(f"{address}: an address needs --secret-file with the control secret (hexadecimal)")
    try:
        return bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: name the control secret's file") from error
    except ValueError as error:
        raise UsageError(f"{path}: not a secret in hexadecimal: name the control secret's file") from error
