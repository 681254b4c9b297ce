"""How much memory of its own a process has held: without the pages of files, which the kernel takes back at need."""

import threading
from pathlib import Path


def anonymous_bytes() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:")) * 1024


class Watch(threading.Thread):
    """Looks a hundred times a second, from its making on."""

    def __init__(self):
        super().__init__(daemon=True)
        self.first = self.peak = anonymous_bytes()
        self.ended = threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.01):
            self.peak = max(self.peak, anonymous_bytes())

    def most(self) -> int:
        """The most so far, in bytes, beyond what was held at first."""
        return max(self.peak, anonymous_bytes()) - self.first
