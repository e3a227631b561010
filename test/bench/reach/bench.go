package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// registry has a model that is never asked: a namespace with Sandboxes wants one.
const registry = `version: 1
default: {name: scripted}
providers:
  scripted: {type: scripted, script: {configMapName: script, key: script.yaml}}
models:
- {id: scripted, provider: scripted, contextWindow: 200000}
`

type bench struct {
	config    *rest.Config
	kube      *kubernetes.Clientset
	c         client.Client
	http      *http.Client
	namespace string
	// at is where the subresources of the Sandbox are.
	at      string
	version string
	// first is from the creation of the Sandbox to its first answer.
	first time.Duration
}

func newBench(ctx context.Context) (*bench, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the cluster: %w", err)
	}
	config.QPS = -1
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	b := &bench{config: config}
	if b.c, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	if b.kube, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if b.http, err = rest.HTTPClientFor(config); err != nil {
		return nil, err
	}
	version, err := b.kube.Discovery().ServerVersion()
	if err != nil {
		return nil, err
	}
	b.version = version.GitVersion
	if err := b.makeSandbox(ctx); err != nil {
		return nil, errors.Join(err, b.cleanUp(context.WithoutCancel(ctx)))
	}
	return b, nil
}

func (b *bench) makeSandbox(ctx context.Context) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-reach-"}}
	if err := b.c.Create(ctx, ns); err != nil {
		return err
	}
	b.namespace = ns.Name
	b.at = "/apis/subresources.sampan.dev/v1alpha1/namespaces/" + ns.Name + "/sandboxes/box"
	for name, data := range map[string]map[string]string{
		"sampan-models": {"models.yaml": registry}, "script": {"script.yaml": "turns: [{text: Done.}]"},
	} {
		if err := b.c.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: name}, Data: data}); err != nil {
			return err
		}
	}
	sb := &v1alpha1.Sandbox{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "box"}, Spec: v1alpha1.SandboxSpec{State: v1alpha1.SandboxRunning}}
	began := time.Now()
	if err := b.c.Create(ctx, sb); err != nil {
		return err
	}
	var last error
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		last = b.exec(ctx)
		return last == nil, nil
	})
	b.first = time.Since(began)
	if err != nil {
		return fmt.Errorf("waiting for the Sandbox: %w (last: %w)", err, last)
	}
	return nil
}

func (b *bench) cleanUp(ctx context.Context) error {
	if b.namespace == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := b.c.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (b *bench) arms(n int) []arm {
	const size = 4 << 10
	content := strings.Repeat("x", size)
	return []arm{
		{"floor: GET of the Sandbox object", n, func(ctx context.Context) error {
			return b.c.Get(ctx, client.ObjectKey{Namespace: b.namespace, Name: "box"}, &v1alpha1.Sandbox{})
		}},
		{"floor: /bin/true by pods/exec, as kubectl exec does it", n / 4, b.podExec},
		{"status", n, func(ctx context.Context) error { return b.ask(ctx, http.MethodGet, "/status", "") }},
		{"exec /bin/true", n, b.exec},
		{"write a file of 4 KiB", n, func(ctx context.Context) error { return b.ask(ctx, http.MethodPut, "/files/f", content) }},
		{"read it", n, func(ctx context.Context) error { return b.ask(ctx, http.MethodGet, "/files/f", "") }},
		{"exec/stream, to the first byte of output", n, b.firstByte},
		{"write 16 MiB", n / 20, func(ctx context.Context) error {
			return b.ask(ctx, http.MethodPut, "/files/big", strings.Repeat(content, 4<<10))
		}},
		{"read 16 MiB", n / 20, func(ctx context.Context) error { return b.ask(ctx, http.MethodGet, "/files/big", "") }},
		{"backup of those", n / 20, func(ctx context.Context) error { return b.ask(ctx, http.MethodGet, "/backup", "") }},
	}
}

func (b *bench) exec(ctx context.Context) error {
	return b.ask(ctx, http.MethodPost, "/exec", `{"argv":["/bin/true"]}`)
}

func (b *bench) ask(ctx context.Context, method, path, body string) error {
	resp, err := b.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// send gives an answer that is none of an error.
func (b *bench) send(ctx context.Context, method, path, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(b.config.Host, "/")+b.at+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		said, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return nil, errors.Join(fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, said), err, resp.Body.Close())
	}
	return resp, nil
}

func (b *bench) firstByte(ctx context.Context) error {
	resp, err := b.send(ctx, http.MethodPost, "/exec/stream", `{"argv":["echo","x"]}`)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // the rest is not read
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if lines.Text() == "event: stdout" {
			return nil
		}
	}
	return errors.Join(errors.New("the stream ended without output"), lines.Err())
}

func (b *bench) podExec(ctx context.Context) error {
	req := b.kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(b.namespace).Name("box-1").SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: "sandbox", Command: []string{"/bin/true"}, Stdout: true}, clientgoscheme.ParameterCodec)
	e, err := remotecommand.NewWebSocketExecutor(b.config, http.MethodGet, req.URL().String())
	if err != nil {
		return err
	}
	return e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: io.Discard})
}
