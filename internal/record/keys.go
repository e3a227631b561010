package record

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// What becomes part of a key has none of the bytes that mean something in a path.
var (
	namespacePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	uidPattern       = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9]{0,62}[A-Za-z0-9])?$`)
	outputPattern    = regexp.MustCompile(`^[a-z0-9]+([-._][a-z0-9]+)*$`)
	digestPattern    = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

const (
	maxOutputName = 63
	digestPrefix  = "sha256:"
	// numberDigits has room for any int64, so that keys sort as their numbers do.
	numberDigits = 19
)

// The prefixes of all keys.
const (
	tasksPrefix  = "tasks/"
	chunksPrefix = "chunks/"
	sweepsPrefix = "sweeps/"
)

// Check tells why nothing can have the record of a task.
func (t Task) Check() error {
	if !namespacePattern.MatchString(t.Namespace) {
		return fmt.Errorf("the namespace %q of a record is none: it has to match %s", t.Namespace, namespacePattern)
	}
	if !uidPattern.MatchString(t.UID) {
		return fmt.Errorf("the UID %q of a record's task is none: it has to match %s", t.UID, uidPattern)
	}
	return nil
}

func (w Writer) check() error {
	if w.Attempt < 0 || !uidPattern.MatchString(w.PodUID) {
		return fmt.Errorf("a writer of attempt %d with pod UID %q is none: the UID has to match %s", w.Attempt, w.PodUID, uidPattern)
	}
	return nil
}

// id tells one writer from another.
func (w Writer) id() string { return fmt.Sprintf("%d/%s", w.Attempt, w.PodUID) }

func checkOutputName(name string) error {
	if len(name) > maxOutputName || !outputPattern.MatchString(name) {
		return fmt.Errorf("%q is no name of an output: it has to match %s and have at most %d characters", name, outputPattern, maxOutputName)
	}
	return nil
}

func (d Digest) check() error {
	if !digestPattern.MatchString(string(d)) {
		return fmt.Errorf("%q is no digest: it has to match %s", string(d), digestPattern)
	}
	return nil
}

func (t Task) prefix() string { return tasksPrefix + t.Namespace + "/" + t.UID + "/" }

func (t Task) infoKey() string           { return t.prefix() + "info" }
func (t Task) logPrefix() string         { return t.prefix() + "log/" }
func (t Task) logKey(first int64) string { return t.logPrefix() + number(first) }
func (t Task) claimPrefix() string       { return t.prefix() + "claims/" }
func (t Task) claimKey(term int64) string {
	return t.claimPrefix() + number(term)
}
func (t Task) baseKey(term int64) string { return t.prefix() + "bases/" + number(term) }
func (t Task) checkpointsPrefix() string { return t.prefix() + "checkpoints/" }
func (t Task) checkpointPrefix(term int64) string {
	return t.checkpointsPrefix() + number(term) + "/"
}
func (t Task) checkpointKey(term int64, turn int) string {
	return t.checkpointPrefix(term) + number(int64(turn))
}
func (t Task) outputsPrefix() string           { return t.prefix() + "outputs/" }
func (t Task) outputPrefix(name string) string { return t.outputsPrefix() + name + "/" }
func (t Task) outputKey(name string, term int64) string {
	return t.outputPrefix(name) + number(term)
}

func chunkPrefix(namespace string) string { return chunksPrefix + namespace + "/" }

func chunkKey(namespace string, d Digest) string {
	return chunkPrefix(namespace) + strings.TrimPrefix(string(d), digestPrefix)
}

func number(n int64) string { return fmt.Sprintf("%0*d", numberDigits, n) }

// lastNumber is the number that a key ends with.
func lastNumber(key string) (int64, error) {
	s := key[strings.LastIndexByte(key, '/')+1:]
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || number(n) != s {
		return 0, &CorruptError{Object: key, Reason: "its name does not end with a number of the store"}
	}
	return n, nil
}
