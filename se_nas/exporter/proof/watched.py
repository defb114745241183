"""Runs a script, and ends with the process that began it: ``watched.py PARENT FOLDER SCRIPT``. The folder goes with it.

A killed export cannot tidy up; this process can. It imports nothing of se-nas.
"""

from __future__ import annotations

import os
import runpy
import shutil
import sys
import threading
import time

SECONDS = 0.2
"""Between two looks."""


def watch(parent: int, folder: str) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=watch, args=(int(sys.argv[1]), sys.argv[2]), daemon=True).start()
    script = sys.argv[3]
    sys.argv = [script, sys.argv[2]]
    runpy.run_path(script, run_name="__main__")
