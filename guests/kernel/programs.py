"""The guest's programs: a workload shared by equal processes, which the OOM killer can end."""

from collections import deque

from guests.workloads import Workload
from hypervisor.public.units import Pages, Seconds


class Programs:
    """`processes` equal shares of one workload. A killed one is started again after `restart` seconds."""

    def __init__(self, workload: Workload, processes: int, restart: Seconds, start: Seconds) -> None:
        self._workload = workload
        self._processes = processes
        self._restart = restart
        self._start = start
        self._restarts: deque[Seconds] = deque()

    @property
    def running(self) -> int:
        """Processes not killed, or started again since."""
        return self._processes - len(self._restarts)

    @property
    def all_running(self) -> bool:
        """True when none has to be started again."""
        return not self._restarts

    def demand(self, now: Seconds) -> Pages:
        """Pages the running processes want at emulated second `now`."""
        while self._restarts and self._restarts[0] <= now:
            self._restarts.popleft()
        return self._workload.demand(max(0.0, now - self._start)) * self.running // self._processes

    def kill(self, now: Seconds) -> bool:
        """End one process; its pages leave demand until it starts again. False when none runs."""
        if self.running == 0:
            return False
        self._restarts.append(now + self._restart)
        return True
