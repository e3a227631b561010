"""Changes what commands inherit from the server."""

import resource

for name in ("RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CPU", "RLIMIT_NPROC"):
    try:
        resource.prlimit(1, getattr(resource, name), (1, 1) if name != "RLIMIT_NOFILE" else (16, 16))
        print(name, "changed", flush=True)
    except (OSError, ValueError) as error:
        print(name, "not changed:", error, flush=True)
