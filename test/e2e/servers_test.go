package e2e

import (
	_ "embed"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
)

//go:embed testdata/git-server.py
var gitServerScript string

// modelServerRegistry has one model, served over HTTP for a key.
func modelServerRegistry(secret string) string {
	return fmt.Sprintf(`
version: 1
default: {name: served}
providers:
  server: {type: openai, baseURL: "http://model-server:8080/v1", apiKey: {secretName: %s, key: key}}
models:
- {id: served, provider: server, contextWindow: 200000}
`, secret)
}

// server is a pod with a Service of the same name, port 8080, that passes Pod
// Security. Its program is a key of the ConfigMap of the same name.
const server = `
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {server: NAME}, ports: [{port: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {server: NAME}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: server
    image: IMAGE
    command: COMMAND
    env: ENV
    readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts:
    - {name: config, mountPath: /etc/server}
    - {name: data, mountPath: /srv}
  volumes:
  - {name: config, configMap: {name: NAME}}
  - {name: data, emptyDir: {}}
`

func (s *space) serve(name, command, env string) {
	GinkgoHelper()
	s.apply(strings.NewReplacer("NAME", name, "IMAGE", sandboxImage, "COMMAND", command, "ENV", env).Replace(server))
	kubectl("-n", s.name, "wait", "--for=condition=Ready", "pod/"+name, "--timeout=2m")
}

// serveModel plays a script over HTTP to those who send the key.
func (s *space) serveModel(script, key string) {
	GinkgoHelper()
	s.applySecret("model-key", map[string]string{"key": key})
	s.applyConfigMap("model-server", "script.yaml", script)
	s.applyRegistry(modelServerRegistry("model-key"))
	s.serve("model-server", `[agent-runner, model-server, --script, /etc/server/script.yaml, --addr, ":8080"]`,
		"[{name: MODEL_API_KEY, valueFrom: {secretKeyRef: {name: model-key, key: key}}}]")
}

// serveGit serves http://git-server:8080/locked.git for a user and a password.
func (s *space) serveGit(user, password string) {
	GinkgoHelper()
	s.applyObject(basicAuth("git-login", user, password))
	s.applyConfigMap("git-server", "git-server.py", gitServerScript)
	s.serve("git-server", "[python3, /etc/server/git-server.py]", `[
      {name: REPO_USER, valueFrom: {secretKeyRef: {name: git-login, key: username}}},
      {name: REPO_PASSWORD, valueFrom: {secretKeyRef: {name: git-login, key: password}}}]`)
}

// fromGit runs a task on that repository.
func fromGit(spec, secret string) string {
	return spec + "\nsandbox: {template: {workspace: {git: {url: 'http://git-server:8080/locked.git', depth: 1, " +
		"credentialsSecretRef: {name: " + secret + "}}}}}"
}
