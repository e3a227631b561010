package scenario

import (
	_ "testing"
	_ "github.com/onsi/ginkgo/v2"
	_ "github.com/onsi/gomega"
	_ "github.com/google/go-cmp/cmp"
	_ "sigs.k8s.io/controller-runtime/pkg/envtest"
	_ "sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	_ "sigs.k8s.io/controller-runtime/pkg/client/fake"
	_ "k8s.io/utils/clock/testing"
	_ "github.com/sampan-dev/sampan/internal/controller/agenttask"
	_ "github.com/sampan-dev/sampan/internal/controller/sandbox"
)
