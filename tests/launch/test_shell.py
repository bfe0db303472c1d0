"""`claimlab shell`: xl's commands and columns against a real `claimlab serve`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from launch.live.attach import attach
from launch.live.shell.answer import CommandFailedError, Shown
from launch.live.shell.table import COMMANDS, carry_out
from tests.launch.cluster_runs import PATIENCE, claimlab
from tests.launch.served import serving

HOST = ("--set", "host.memory=1GiB", "--set", "host.dom0=64MiB", "--set", "host.xen=32MiB")
TMEM = ("--set", "release=4.12", "--set", "host.tmem=true")


class Served:
    """A hypervisor and one's own shell on it."""

    def __init__(self, folder: Path, told: dict[str, Any]) -> None:
        self.folder = folder
        self.told = told
        self._control = attach(str(folder), None, None)[1]

    def do(self, line: str) -> Shown:
        return carry_out(self._control, line)

    def fails(self, line: str) -> str:
        """The one line of its failure."""
        with pytest.raises(CommandFailedError) as caught:
            self.do(line)
        text = str(caught.value)
        assert "\n" not in text and text.startswith(line.split(maxsplit=1)[0])
        return text

    def domain(self, name: str) -> dict[str, Any]:
        domains = self.do("list").document["domains"]
        found: dict[str, Any] = next(one for one in domains if one["name"] == name)
        return found


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with ExitStack() as stack:
        yield Served(*stack.enter_context(serving(*HOST, *TMEM)))


def test_list_has_the_columns_of_xl(served: Served) -> None:
    """Name, ID, Mem, VCPUs, State and Time(s) stand where xl puts them; Mem is memory and claim."""
    served.do("create name=web memory=64 vcpus=2 type=pv")
    heading, dom0, web = served.do("list").lines
    assert heading == "Name                                        ID   Mem VCPUs\tState\tTime(s)"
    assert dom0.split() == ["Domain-0", "0", "64", "1", "r-----", "-"]
    assert re.fullmatch(r"web {37} {5}\d    64     2     r-----         -", web)
    assert served.do("list web").lines[1:] == (web,)
    assert served.do(f"list {served.domain('web')['domid']}").lines[1:] == (web,)
    served.do("destroy web")
    assert len(served.do("list").lines) == 2


def test_info_is_the_memory_of_xl_info(served: Served) -> None:
    """free_memory is what neither a domain nor a claim has (L16), and drops by what is created."""
    before = served.do("info").document
    assert before["total_memory"] == 1024 and before["outstanding_claims"] == 0
    served.do("create name=a memory=100 type=pv")
    lines = dict(re.split(r" +: ", line) for line in served.do("info").lines)
    assert int(lines["free_memory"]) in range(before["free_memory"] - 102, before["free_memory"] - 99)
    numbered = served.do("info -n").lines
    assert numbered[-1].split()[:2] == ["0:", "1024"]
    served.do("destroy a")
    assert served.do("info").document == before, "nothing is left of it, its claim neither"


def test_pause_and_unpause(served: Served) -> None:
    """p in the state while paused; a second unpause is EINVAL, named."""
    served.do("create name=p memory=4 type=pv -p")
    assert served.domain("p")["state"] == "--p---"
    served.do("unpause p")
    assert served.domain("p")["state"] == "r-----"
    assert served.fails("unpause p") == "unpause: unpausedomain: EINVAL"
    served.do("pause p")
    assert served.domain("p")["state"] == "--p---"
    served.do("destroy p")


@pytest.mark.rule("L15")
def test_mem_set_and_mem_max(served: Served) -> None:
    """mem-set enforces the target as max_pages and 1 MiB, up to static-max; mem-max not below the target."""
    served.do("create name=m memory=16 maxmem=32 type=pv")
    assert served.domain("m")["max_pages"] == 33 * 256
    served.do("mem-set m 8m")
    assert served.domain("m")["max_pages"] == 9 * 256
    assert served.domain("m")["tot_pages"] == 16 * 256, "only its own balloon gives memory back"
    assert "above static-max" in served.fails("mem-set m 33")
    assert "below the target" in served.fails("mem-max m 4096k")
    served.do("mem-max m 64m")
    assert served.domain("m")["max_pages"] == 65 * 256
    assert "128 MiB" in served.fails("mem-set 0 64")
    served.do("destroy m")


def test_claims_shows_what_is_claimed(served: Served) -> None:
    """A build that is refused its claim leaves nothing; the column Claimed stands at the end."""
    failed = served.fails("create name=big memory=2g")
    assert "claim_pages: ENOMEM" in failed and "destroyed again" in failed
    lines = served.do("claims").lines
    assert lines[0].endswith("Time(s)  Claimed") and lines[1].split()[-1] == "0"
    assert len(lines) == 2


def test_tmem(served: Served) -> None:
    """tmem-list prints Xen's lines, freeze and thaw are 0 for all, and a stranger to tmem is named."""
    assert served.do("tmem-list -a").lines[0].startswith("G=")
    served.do("tmem-freeze -a")
    served.do("tmem-thaw -a")
    assert served.do("tmem-freeable").lines == ("0",)
    served.do("create name=t memory=4 type=pv")
    assert served.fails("tmem-freeze t") == "tmem-freeze: the domain does not use tmem (EPERM)"
    served.do("destroy t")


def test_where_there_is_no_tmem() -> None:
    """A release without tmem says which ones have it."""
    with serving(*HOST, "--set", "release=4.17") as (folder, told):
        text = Served(folder, told).fails("tmem-list -a")
    assert text == "tmem-list: no tmem here: releases 4.3 and 4.12 have it (ENOSYS)"


def test_sharing(served: Served) -> None:
    """The columns of xl sharing."""
    heading, dom0 = served.do("sharing").lines
    assert heading.split() == ["Name", "ID", "Mem", "Shared"]
    assert dom0.split() == ["Domain-0", "0", "64", "0"]


BAD = [
    ("list nobody", "nobody is an invalid domain identifier (ESRCH)"),
    ("destroy 99", "ESRCH"),
    ("destroy 0", "Cannot destroy privileged domain 0"),
    ("pause 0", "domain 0 runs the toolstacks and cannot be paused"),
    ("destroy", "wants one DOMAIN"),
    ("mem-set 0", "wants DOMAIN and MEM"),
    ("mem-max 0 much", "no amount of memory"),
    ("mem-max 0 1b", "whole number of 4 KiB pages"),
    ("create", "wants at least name=NAME"),
    ("create name=x memory=4 cpus=3", "cpus: wants name="),
    ("create name=x memory=4 type=hwm", "hvm or pv"),
    ("create name=x memory=4 maxmem=2", "maxmem is below memory"),
    ("create name=Domain-0 memory=4", "EEXIST"),
    ("create 'name=x", "No closing quotation"),
    ("info -x", "EINVAL"),
    ("tmem-list", "wants one DOMAIN, or -a"),
    ("tmem-freeable -a", "EINVAL"),
    ("fly", "no such command"),
]


@pytest.mark.parametrize(("line", "cure"), BAD, ids=[one for one, _ in BAD])
def test_a_bad_command_is_one_line(served: Served, line: str, cure: str) -> None:
    """It names the command and the fault, and changes nothing."""
    before = served.do("info").document
    assert cure in served.fails(line)
    assert served.do("info").document == before


def test_one_shot_and_prompt(served: Served) -> None:
    """-c runs a command and leaves with 0 or 1, as piped lines do; --json is a document."""
    done = claimlab("shell", served.folder, "-c", "list", "-c", "info")
    assert done.returncode == 0, done.stderr
    assert "Domain-0" in done.stdout and "free_memory" in done.stdout
    told = claimlab("shell", served.folder, "--json", "-c", "list")
    assert json.loads(told.stdout)["domains"][0]["name"] == "Domain-0"
    assert "mem-set DOMAIN MEM" in claimlab("shell", served.folder, "-c", "help").stdout
    failed = claimlab("shell", served.folder, "-c", "destroy 99")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "destroy: 99 is an invalid domain identifier (ESRCH)\n"
    lines = "help\nlist\nfly\n\nquit\nlist\n"
    command = [sys.executable, "-m", "launch", "shell", str(served.folder)]
    typed = subprocess.run(
        command, input=lines, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert typed.returncode == 1, typed.stderr
    assert typed.stdout.count("Domain-0") == 1 and "fly: no such command" in typed.stderr
    assert all(name in typed.stdout for name in COMMANDS)
    assert "> " not in typed.stdout  # nobody sits there to be prompted
    good = subprocess.run(
        command, input="list", capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (good.returncode, good.stderr) == (0, "")


def test_an_address_wants_its_secret(served: Served, tmp_path: Path) -> None:
    """An address works with the secret's file; without it, or with a wrong one, a line says so."""
    address, secret = served.told["toolstacks"], served.told["control_secret_file"]
    done = claimlab("shell", address, "--secret-file", secret, "-c", "list")
    assert done.returncode == 0 and "Domain-0" in done.stdout, done.stderr
    assert claimlab("shell", address, "-c", "list").returncode == 2
    wrong = tmp_path / "wrong"
    wrong.write_text("00" * 32, encoding="ascii")
    done = claimlab("shell", address, "--secret-file", wrong, "-c", "list")
    assert done.returncode == 1 and "bad-secret" in done.stderr and len(done.stderr.splitlines()) == 1


def test_where_nothing_runs(tmp_path: Path) -> None:
    """One line with the cure, exit code 2."""
    for target in ([], [tmp_path]):
        environment = {**os.environ, "PYTHONPATH": os.getcwd()}
        done = claimlab("shell", *target, "-c", "list", cwd=tmp_path, env=environment)
        assert done.returncode == 2, done.stdout
        assert "no hypervisor runs there" in done.stderr and len(done.stderr.splitlines()) == 1
