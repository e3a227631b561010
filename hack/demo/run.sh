#!/usr/bin/env bash
# Runs the demo in the current cluster, in which the operator is deployed: an
# agent fixes a failing test of a repository. Exits non-zero unless the task
# ends Succeeded=True.
#
# By default a script plays the model. To use a real, OpenAI-compatible one set
#   MODEL_BASE_URL  for example https://gateway.example.com/v1
#   MODEL           the id that it knows the model by
#   MODEL_API_KEY   its key, if it wants one
set -euo pipefail
cd "$(dirname "$0")/../.."

NS=sampan-demo
SANDBOX_IMG=${SANDBOX_IMG:-ghcr.io/sampan-dev/sandbox:dev}
TIMEOUT_SECONDS=${DEMO_TIMEOUT_SECONDS:-960}
base_url=${MODEL_BASE_URL:-http://model.$NS.svc:4000/v1}
model=${MODEL:-scripted}
key=${MODEL_API_KEY:-}
if [ -z "${MODEL_BASE_URL:-}" ]; then
  key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
fi

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || say() { printf '\n%s\n' "$*"; }

CGO_ENABLED=0 go build -o bin/agent-runner ./cmd/agent-runner

say "Preparing namespace $NS (Pod Security: restricted)"
kubectl create namespace "$NS" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
kubectl label namespace "$NS" pod-security.kubernetes.io/enforce=restricted --overwrite >/dev/null
kubectl -n "$NS" delete agenttask fix-test --ignore-not-found --timeout=60s >/dev/null
# The key goes through a pipe: an argument would show in the process list.
printf %s "${key:-none}" | kubectl -n "$NS" create secret generic model-keys \
  --from-file=demo=/dev/stdin --dry-run=client -o yaml | kubectl apply -f - >/dev/null
key_ref='apiKey: {secretName: model-keys, key: demo}'
[ -n "$key" ] || key_ref=''
kubectl -n "$NS" create configmap sampan-models --from-file=models.yaml=/dev/stdin --dry-run=client -o yaml <<YAML | kubectl apply -f - >/dev/null
version: 1
default: {name: demo}
providers:
  demo:
    type: openai
    baseURL: "$base_url"
    $key_ref
models:
- id: demo
  provider: demo
  upstream: "$model"
  contextWindow: ${MODEL_CONTEXT_WINDOW:-32768}
  pricing: {inputPerMTok: "${MODEL_INPUT_PRICE:-0.66}", cachedInputPerMTok: "${MODEL_CACHED_PRICE:-0.10}", outputPerMTok: "${MODEL_OUTPUT_PRICE:-1.00}"}
YAML
kubectl kustomize hack/demo | sed "s#ghcr.io/sampan-dev/sandbox:dev#$SANDBOX_IMG#" | kubectl apply -f - >/dev/null
kubectl -n "$NS" rollout restart deployment/git deployment/model >/dev/null
kubectl -n "$NS" rollout status deployment/git --timeout=120s >/dev/null
kubectl -n "$NS" rollout status deployment/model --timeout=120s >/dev/null

say "Applying the AgentTask"
cat hack/demo/task.yaml
kubectl apply -f hack/demo/task.yaml

field() { kubectl -n "$NS" get agenttask fix-test -o jsonpath="$1" 2>/dev/null || true; }
succeeded() { field '{.status.conditions[?(@.type=="Succeeded")].status}'; }
ended() { case $(succeeded) in True | False) return 0 ;; esac; return 1; }

say "The agent at work (its transcript, live)"
deadline=$((SECONDS + TIMEOUT_SECONDS))
shown=
until ended; do
  if [ $SECONDS -ge $deadline ]; then
    echo "The task did not end within $TIMEOUT_SECONDS s" >&2
    break
  fi
  pod=$(field '{.status.podName}')
  if [ -n "$pod" ] && [ "$pod" != "$shown" ] &&
    kubectl -n "$NS" logs "$pod" -c runner --limit-bytes=1 >/dev/null 2>&1; then
    shown=$pod
    timeout "$TIMEOUT_SECONDS" kubectl -n "$NS" logs -f "$pod" -c runner | bin/agent-runner transcript show --full - || true
    continue
  fi
  sleep 0.2
done

say "The task"
kubectl -n "$NS" get agenttask fix-test -o wide
kubectl -n "$NS" get agenttask fix-test -o jsonpath='{range .status.conditions[*]}{.type}{"="}{.status}{"  "}{.reason}{": "}{.message}{"\n"}{end}'
echo
echo "Turns       $(field '{.status.progress.turns}') ($(field '{.status.progress.toolCalls}') tool calls, $(field '{.status.progress.failedToolCalls}') failed)"
echo "Tokens      $(field '{.status.progress.usage.inputTokens}') in ($(field '{.status.progress.usage.cachedInputTokens}') cached), $(field '{.status.progress.usage.outputTokens}') out"
echo "Cost        \$$(field '{.status.progress.usage.costUSD}')"
echo "Verified    $(field '{range .status.result.verifications[*]}{.name}={.outcome} {end}')"
uri=$(field '{.status.transcript.uri}')
digest=$(field '{.status.transcript.digest}')
if [ -z "$uri" ]; then
  echo "Transcript  none: the agent did not begin"
else
  echo "Transcript  kubectl get --raw '$uri'"
  checked=$(kubectl get --raw "$uri" | bin/agent-runner transcript verify -) || { echo "The transcript is broken" >&2; exit 1; }
  case $checked in
    *"$digest"*) echo "            $checked" ;;
    *) echo "The transcript is not the one that the status names: $checked" >&2; exit 1 ;;
  esac
fi

if [ -n "$uri" ]; then
  say "The change"
  kubectl get --raw "$uri" | bin/agent-runner transcript show --full - | sed -n 's/^    //; /^diff --git/,/^$/p'
fi

if [ "$(succeeded)" != True ]; then
  echo "The task has not succeeded." >&2
  exit 1
fi
say "The agent fixed the test, and the verify commands proved it."
