package certs

import (
	"encoding/base64"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// NewAPIService is an APIService by its name, to be read or written.
func NewAPIService(name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("apiregistration.k8s.io/v1")
	u.SetKind("APIService")
	u.SetName(name)
	return u
}

// encode is how bytes are written in JSON.
func encode(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// equal reports whether two APIServices have the same authority.
func equal(a, b *unstructured.Unstructured) bool {
	one, _, _ := unstructured.NestedString(a.Object, "spec", "caBundle")
	other, _, _ := unstructured.NestedString(b.Object, "spec", "caBundle")
	return one == other
}
