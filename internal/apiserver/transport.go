package apiserver

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"
)

const (
	// dialDeadline bounds a connection and its handshake.
	dialDeadline = 5 * time.Second
	// pingAfter is how long a connection is silent until it is looked whether somebody
	// is still there, and pingDeadline how long that may take.
	pingAfter    = 30 * time.Second
	pingDeadline = 15 * time.Second
	// window is how many bytes of a body are held that nobody has read yet. A connection
	// has as much for each of its requests, so that none keeps another waiting.
	window                  = 128 << 10
	maxStreamsPerConnection = 250
)

// newTransport gives what reaches a server of the record, and trusts nobody but some
// authorities. An empty name is that of the address.
func newTransport(roots *x509.CertPool, serverName string) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialDeadline}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13, ServerName: serverName},
		TLSHandshakeTimeout: dialDeadline,
		IdleConnTimeout:     time.Minute,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: pingAfter, PingTimeout: pingDeadline,
			MaxReceiveBufferPerStream: window, MaxReceiveBufferPerConnection: maxStreamsPerConnection * window,
		},
	}
}
