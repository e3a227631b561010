# Stops a node's kubelet, and lets it go on after so many seconds. The arguments are
# the node and the seconds. That needs nobody's help: kubelet could not bring us word of it.
import os
import signal
import sys
import time


def command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().split(b"\0")
    except OSError:
        return [b""]  # it has ended


name = f"--hostname-override={sys.argv[1]}".encode()
found = {int(pid): command(pid) for pid in filter(str.isdigit, os.listdir("/proc"))}
found = [pid for pid in found if os.path.basename(found[pid][0]) == b"kubelet"]
if len(found) > 1:  # nodes that share a machine are told apart by their names
    found = [pid for pid in found if name in command(pid)]
if len(found) != 1:
    sys.exit(f"want one kubelet, found {found}")
if os.fork() > 0:
    os._exit(0)
os.setsid()
for fd in range(3):
    os.close(fd)
time.sleep(2)  # until kubelet has brought word of this program's own end
try:
    os.kill(found[0], signal.SIGSTOP)
    time.sleep(int(sys.argv[2]))
finally:
    os.kill(found[0], signal.SIGCONT)
