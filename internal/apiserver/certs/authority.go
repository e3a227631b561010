package certs

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
)

// announced is for how long an authority is published before it signs. Who was told
// whom to trust before, as a pod is when it is made, goes on for that long.
const announced = 90 * 24 * time.Hour

// authorities puts the authority into a Secret, and the next one when the first is due.
// The bundle of all that sign, will sign or have signed is for those who call.
func authorities(log klog.Logger, secret *corev1.Secret, now time.Time) (current *pair, changed bool, err error) {
	before := secret.Data[authorityCert]
	current, err = parsePair(before, secret.Data[authorityKey])
	next, noNext := parsePair(secret.Data[nextCert], secret.Data[nextKey])
	switch works := err == nil && valid(current.cert, now); {
	case works && !due(current.cert, now):
		return current, false, nil
	case noNext == nil && valid(next.cert, now) && (!works || !now.Before(next.cert.NotBefore.Add(skew+announced))):
		log.Info("The next authority signs the serving certificate from now on")
		current, next = next, nil
	case !works:
		log.Info("Making an authority for the serving certificate", "why", err)
		if current, err = newAuthority(now); err != nil {
			return nil, false, err
		}
		next = nil
	case noNext == nil && valid(next.cert, now):
		return current, false, nil
	default:
		log.Info("Making the next authority for the serving certificate", "signsAfter", announced)
		if next, err = newAuthority(now); err != nil {
			return nil, false, err
		}
	}
	return current, true, putAuthorities(secret, current, next, stillGood(before, now))
}

// putAuthorities puts the authority, the next one if there is one, and the bundle of both
// and those before them.
func putAuthorities(secret *corev1.Secret, current, next *pair, before [][]byte) error {
	bundle := [][]byte{current.certPEM()} // the first is the one that signs
	delete(secret.Data, nextCert)
	delete(secret.Data, nextKey)
	if next != nil {
		bundle = append(bundle, next.certPEM())
		if err := put(secret, nextCert, next.certPEM(), nextKey, next); err != nil {
			return err
		}
	}
	for _, cert := range before {
		known := slices.ContainsFunc(bundle, func(have []byte) bool { return string(have) == string(cert) })
		if !known && len(bundle) < maxBundle {
			bundle = append(bundle, cert)
		}
	}
	return put(secret, authorityCert, slices.Concat(bundle...), authorityKey, current)
}
