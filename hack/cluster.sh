#!/usr/bin/env bash
# The cluster that e2e, demo and benchmarks run on, behind one interface:
# CLUSTER=devcluster (default), kind, or current: the one of your kubeconfig,
# which is neither made nor removed, and into which images come by make push.
# NAMESPACE is where the operator runs, MANAGER_IMG and SANDBOX_IMG are its images.
# KIND_CONFIG is a file with kind's own configuration, such as another node image.
# usage: hack/cluster.sh up | down | manifests | deploy | undeploy | kubeconfig
set -euo pipefail
cd "$(dirname "$0")/.."

CLUSTER=${CLUSTER:-devcluster}
MANAGER_IMG=${MANAGER_IMG:-ghcr.io/sampan-dev/manager:dev}
SANDBOX_IMG=${SANDBOX_IMG:-ghcr.io/sampan-dev/sandbox:dev}
NAMESPACE=${NAMESPACE:-sampan-system}
# PLAIN_IMG is an image without the project's programs; the end-to-end suite runs a task in it.
PLAIN_IMG=${PLAIN_IMG:-docker.io/library/debian:bookworm-slim}
# UNDEPLOY_TIMEOUT is how long the operator may take to remove every AgentTask.
UNDEPLOY_TIMEOUT=${UNDEPLOY_TIMEOUT:-120s}
KIND_NAME=sampan
KIND_KUBECONFIG=$PWD/bin/kind-kubeconfig

kubeconfig() {
  case $CLUSTER in
    devcluster) hack/devcluster/run kubeconfig ;;
    kind) echo "$KIND_KUBECONFIG" ;;
    current) echo "${KUBECONFIG:-$HOME/.kube/config}" ;;
    *) echo "CLUSTER is '$CLUSTER'; use devcluster, kind or current" >&2; exit 2 ;;
  esac
}

# loadPlain puts PLAIN_IMG into the devcluster, whose nodes pull nothing. It is there
# where buildah has built the images; Docker's builds may have kept no name for it.
loadPlain() {
  hack/devcluster/run load "$PLAIN_IMG" 2>/dev/null || { docker pull --quiet "$PLAIN_IMG" && hack/devcluster/run load "$PLAIN_IMG"; }
}

images() { hack/devcluster/run images --manager "$MANAGER_IMG" --sandbox "$SANDBOX_IMG" "$@"; }

up() {
  case $CLUSTER in
    devcluster)
      hack/devcluster/run up
      images --load >/dev/null
      loadPlain
      ;;
    kind)
      mkdir -p bin
      kind get clusters 2>/dev/null | grep -qx "$KIND_NAME" ||
        kind create cluster --name "$KIND_NAME" --kubeconfig "$KIND_KUBECONFIG" --wait 120s ${KIND_CONFIG:+--config "$KIND_CONFIG"}
      kind export kubeconfig --name "$KIND_NAME" --kubeconfig "$KIND_KUBECONFIG"
      images >/dev/null
      kind load docker-image --name "$KIND_NAME" "$MANAGER_IMG" "$SANDBOX_IMG"
      ;;
    current) kubectl get --raw /readyz >/dev/null ;;
    *) kubeconfig ;;
  esac
}

down() {
  case $CLUSTER in
    devcluster) hack/devcluster/run down ;;
    kind) kind delete cluster --name "$KIND_NAME" && rm -f "$KIND_KUBECONFIG" ;;
    current) echo "CLUSTER=current is not ours to remove; use make undeploy" >&2; exit 2 ;;
    *) kubeconfig ;;
  esac
}

# newImage writes an entry of kustomize's images: NAME becomes IMAGE.
newImage() {
  local name=$1 image=$2 digest='' tag=''
  case $image in *@*) digest=${image#*@} image=${image%%@*} ;; esac
  case ${image##*/} in *:*) tag=${image##*:} image=${image%:*} ;; esac
  [ -n "$tag$digest" ] || tag=latest
  echo "- {name: $name, newName: \"$image\"${tag:+, newTag: \"$tag\"}${digest:+, digest: \"$digest\"}}"
}

# manifests prints what is installed.
manifests() {
  mkdir -p bin/deploy
  {
    echo "resources: [../../config/default]"
    echo "namespace: $NAMESPACE"
    echo "images:"
    newImage ghcr.io/sampan-dev/manager "$MANAGER_IMG"
    newImage ghcr.io/sampan-dev/sandbox "$SANDBOX_IMG"
  } >bin/deploy/kustomization.yaml
  kubectl kustomize bin/deploy
}

# deploy applies the operator and waits for it. A new image of the same name
# does not change the Deployment, so that is restarted.
deploy() {
  export KUBECONFIG
  KUBECONFIG=$(kubeconfig)
  manifests | kubectl apply --server-side --force-conflicts -f - >/dev/null
  kubectl wait --for=condition=Established --timeout=60s crd/agenttasks.sampan.dev crd/sandboxes.sampan.dev crd/sandboxpools.sampan.dev crd/modelprobes.sampan.dev >/dev/null
  kubectl -n "$NAMESPACE" rollout restart deployment/sampan-controller-manager deployment/sampan-apiserver deployment/sampan-record >/dev/null
  kubectl -n "$NAMESPACE" rollout status deployment/sampan-controller-manager --timeout=120s
  kubectl -n "$NAMESPACE" rollout status deployment/sampan-apiserver --timeout=120s
  kubectl -n "$NAMESPACE" rollout status deployment/sampan-record --timeout=120s
}

# release takes the operator's finalizers, and no others, off what is left of a kind.
release() {
  kubectl get "$1" --all-namespaces -o go-template='{{range .items}}{{if .metadata.finalizers}}{{.metadata.namespace}} {{.metadata.name}} [{{$comma := ""}}{{range .metadata.finalizers}}{{if and (ne . "sampan.dev/agenttask") (ne . "sampan.dev/sandbox")}}{{$comma}}"{{.}}"{{$comma = ","}}{{end}}{{end}}]{{"\n"}}{{end}}{{end}}' |
    while read -r namespace name others; do
      kubectl -n "$namespace" patch "$1" "$name" --type=merge --patch "{\"metadata\":{\"finalizers\":$others}}"
    done
}

# removeTasks deletes every ModelProbe, SandboxPool, AgentTask and Sandbox; pools first, which make
# Sandboxes. While the operator runs it stops their pods in order. Where it does not, or
# takes too long, they go all the same, and Kubernetes collects what belonged to them.
removeTasks() {
  for kind in sandboxpools modelprobes; do
    if kubectl get crd "$kind.sampan.dev" >/dev/null 2>&1; then # earlier versions have none
      kubectl delete "$kind" --all --all-namespaces --timeout=60s
    fi
  done
  kubectl delete agenttasks,sandboxes --all --all-namespaces --timeout="$UNDEPLOY_TIMEOUT" && return
  echo "The operator has not removed these in $UNDEPLOY_TIMEOUT; going on without it." >&2
  release agenttasks.sampan.dev
  release sandboxes.sampan.dev
  kubectl delete agenttasks,sandboxes --all --all-namespaces --timeout=60s
}

undeploy() {
  export KUBECONFIG
  KUBECONFIG=$(kubeconfig)
  if kubectl get crd agenttasks.sampan.dev sandboxes.sampan.dev >/dev/null 2>&1; then
    removeTasks
  fi
  kubectl delete serviceaccounts,rolebindings,networkpolicies --all-namespaces --selector app.kubernetes.io/managed-by=sampan --ignore-not-found
  manifests | kubectl delete --ignore-not-found --timeout=120s -f -
}

case ${1:-} in
  up | down | manifests | deploy | undeploy | kubeconfig) "$1" ;;
  *) sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2 ;;
esac
