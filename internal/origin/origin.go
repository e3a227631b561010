// Package origin decides where a secret that belongs to a URL may be sent: to
// the scheme, host and port that it was given for, and in the clear only where
// nobody else listens.
package origin

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// Origin is what a secret is given for.
type Origin struct {
	// Scheme is http or https, Host in lower case, Port a number.
	Scheme, Host, Port string
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// Of gives the origin of an http or https URL; ok is false for any other.
func Of(u *url.URL) (o Origin, ok bool) {
	o = Origin{Scheme: strings.ToLower(u.Scheme), Host: strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), Port: u.Port()}
	port, known := defaultPorts[o.Scheme]
	if o.Port == "" {
		o.Port = port
	}
	return o, known && o.Host != ""
}

// String gives it as a URL without a path, as short as it can be.
func (o Origin) String() string {
	host := o.Host
	if o.Port != defaultPorts[o.Scheme] {
		return o.Scheme + "://" + net.JoinHostPort(host, o.Port)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return o.Scheme + "://" + host
}

// Confidential reports whether a secret that is sent there stays between the two
// ends: it is encrypted, or does not leave this machine or this cluster.
func (o Origin) Confidential() bool { return o.Scheme == "https" || Near(o.Host) }

// Upgraded is the same host by https, where a server of an http URL may send its
// visitors; ok is false for what has a port of its own, or is https already.
func (o Origin) Upgraded() (up Origin, ok bool) {
	return Origin{"https", o.Host, "443"}, o.Scheme == "http" && o.Port == "80"
}

// Near reports whether a host is this machine or in this cluster, by its name: a
// loopback address, localhost, a name without a dot, *.svc or *.cluster.local. A
// name of two labels may be a Service's as well as a public one, and is not; nor
// is an address of a private network, which may be a whole company's.
func Near(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback() || addr.Unmap().IsUnspecified()
	}
	if host == "" || strings.Trim(host, "0123456789") == "" || strings.HasPrefix(host, "0x") {
		return false // a number is an address, as some read it
	}
	for _, suffix := range []string{".localhost", ".svc", ".svc.cluster.local", ".cluster.local"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return !strings.ContainsAny(host, ".:%/")
}
