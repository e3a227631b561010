# Finds processes of the node, and sends a signal to one. Standard input is a JSON
# object: container, an id in the process's control group; argument, a piece of its
# command line; signal, such as SIGKILL, and to, the exact arguments of the one that
# gets it. What is looked for is never in our own command line, so we do not find
# ourselves.
import json
import os
import signal
import sys

want = json.load(sys.stdin)
found = []
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{name}/cgroup") as f:
            cgroup = f.read()
        with open(f"/proc/{name}/cmdline", "rb") as f:
            args = f.read().decode(errors="replace").split("\0")[:-1]
    except OSError:
        continue  # it has ended
    if want.get("container", "") not in cgroup:
        continue
    if any(want.get("argument", "") in a for a in args):
        found.append({"pid": int(name), "args": args})

if "signal" in want:
    if not want.get("container"):
        sys.exit("signal wants a container")
    victims = [p["pid"] for p in found if p["args"] == want["to"]]
    if len(victims) != 1:
        sys.exit(f"want one process with these arguments, found {victims} among {found}")
    os.kill(victims[0], signal.Signals[want["signal"]])
json.dump(found, sys.stdout)
