"""What engines must not do silently: listen to others, run on an inside that is not there, take a trial twice."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys

import pytest

from se_nas.errors import InputError

LISTEN = """
import socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
one = socket.socket(family)
one.bind((sys.argv[1], 0)); one.listen(); print("listening", flush=True); time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
@pytest.mark.parametrize(("address", "open_to"), [("127.0.0.1", set()), ("::1", set()), ("0.0.0.0", {"0.0.0.0"}), ("::", {"::"})])
def test_sockets_of_processes_below_are_seen(address: str, open_to: set[str]) -> None:
    from se_nas.engines.ray_tune.sockets import open_to_others

    if ":" in address and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    before = open_to_others(os.getpid())
    process = subprocess.Popen([sys.executable, "-c", LISTEN, address], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "listening\n"
        assert open_to_others(os.getpid()) - before == open_to
    finally:
        process.kill()
        process.wait()


def test_a_ray_without_what_closes_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    from se_nas.engines.ray_tune.cluster import INSIDE, check_inside

    check_inside()
    for module, names in INSIDE.items():
        for name in names:
            with monkeypatch.context() as patch:
                patch.delattr(importlib.import_module(module), name)
                with pytest.raises(InputError, match=f"has no {module}.{name}, so it could not be kept from others"):
                    check_inside()
