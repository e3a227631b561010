"""Ends its first thread and goes on in another: the process table shows a zombie."""

import ctypes
import os
import threading
import time


def change():
    while True:
        with open("/workspace/proof", "w") as f:
            f.write("good\n")
        time.sleep(0.001)


if os.fork() == 0:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    threading.Thread(target=change).start()
    ctypes.CDLL(None).syscall(60, 0)  # exit of this thread alone, on amd64
