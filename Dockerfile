# The project's images. Their Go programs are compiled outside, by
# `hack/devcluster/run images` or `make images`, so that building an image needs
# no Go image and no module download, and takes seconds after a change.

# What the images are based on. `make push` with Docker asks the registry for the
# digest of this name and builds with that; BASE_IMG gives another. Where buildah
# builds there need be no registry: the base is made from Debian's signed packages.
ARG BASE=docker.io/library/debian:bookworm-slim

# What nearly every task of a coding agent needs. It is a stage of its own so that
# a change of a program does not install these packages again.
FROM ${BASE} AS base
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      bash ca-certificates coreutils git python3 ripgrep \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
RUN groupadd --gid 65532 agent \
 && useradd --uid 65532 --gid 65532 --create-home --shell /bin/bash agent

# The runner of an agent, and the place in which its tools run unless a task
# names another image.
FROM base AS sandbox
COPY bin/image/agent-runner /usr/local/bin/agent-runner
USER 65532:65532
WORKDIR /home/agent
ENV HOME=/home/agent
CMD ["/bin/bash"]

# The operator: two static programs, and the authorities by which it trusts a
# model's endpoint. No shell.
FROM scratch AS manager
COPY --from=base /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY bin/image/manager /manager
COPY bin/image/apiserver /apiserver
USER 65532:65532
ENTRYPOINT ["/manager"]
