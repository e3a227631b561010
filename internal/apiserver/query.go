package apiserver

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// uids are what is taken for the UID of an object. It becomes part of keys in the store.
var uids = regexp.MustCompile(`^[0-9a-zA-Z](-?[0-9a-zA-Z]){0,35}$`)

// query says what is wanted of a record.
type query struct {
	// from and to are numbers of events; to is 0 for the last.
	from, to int64
	// turn is -1 for all.
	turn   int
	follow bool
	// uid is empty for that of the task that is there now.
	uid string
}

// sentByClients are parameters that clients add by themselves.
var sentByClients = []string{"timeout", "pretty"}

// parseQuery reads the parameters of a request that may have some of from, to, turn,
// follow and uid.
func parseQuery(values url.Values, allowed ...string) (query, error) {
	q := query{from: 1, turn: -1}
	for name, all := range values {
		if slices.Contains(sentByClients, name) {
			continue
		}
		if !slices.Contains(allowed, name) {
			return q, apierrors.NewBadRequest(fmt.Sprintf("there is no parameter %q here; use %q", name, allowed))
		}
		if len(all) != 1 {
			return q, apierrors.NewBadRequest(fmt.Sprintf("parameter %s is given %d times; give it once", name, len(all)))
		}
		if err := q.set(name, all[0]); err != nil {
			return q, apierrors.NewBadRequest(fmt.Sprintf("parameter %s is %.64q; %v", name, all[0], err))
		}
	}
	if q.to != 0 && q.to < q.from {
		return q, apierrors.NewBadRequest(fmt.Sprintf("parameter to is %d, which is before from, %d", q.to, q.from))
	}
	return q, nil
}

func (q *query) set(name, value string) (err error) {
	switch name {
	case "from":
		q.from, err = eventNumber(value)
	case "to":
		q.to, err = eventNumber(value)
	case "turn":
		turn, parseErr := strconv.ParseUint(value, 10, 31)
		if parseErr != nil {
			return fmt.Errorf("give the number of a turn, 0 for what was before the first")
		}
		q.turn = int(turn)
	case "follow":
		if q.follow, err = strconv.ParseBool(value); err != nil {
			return fmt.Errorf("give true or false")
		}
	case "uid":
		if !uids.MatchString(value) {
			return fmt.Errorf("give the metadata.uid that the task had")
		}
		q.uid = value
	}
	return err
}

func eventNumber(value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("give the number of an event, from 1")
	}
	return n, nil
}
