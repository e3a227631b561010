// Package tunnel lets a program that listens on no port be asked over HTTP: it keeps
// a connection out to a hub, and answers the hub's requests on it. The connection
// begins as a request that is upgraded, which says who calls; then it is HTTP/2, with
// the caller as the server.
package tunnel

import (
	"net/http"
	"time"
)

const (
	// Protocol is what a connection is upgraded to.
	Protocol = "sampan-tunnel"
	// MaxStreams bounds the requests that are under way on one connection.
	MaxStreams = 100

	// Either side asks the other whether it is there once nothing came for pingAfter,
	// and gives the connection up if no answer comes within pingTimeout.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
	// handshake bounds what comes before a connection is one of HTTP/2.
	handshake = 10 * time.Second
	// farewell is how long requests under way may still take when a connection is not
	// wanted any more.
	farewell = 5 * time.Second
	// window is how many bytes of a body are held that nobody has read yet. The connection
	// has as much for each of its requests, so that none keeps another waiting.
	window = 128 << 10
)

// onlyHTTP2 is HTTP/2 without a handshake: what carries it is secure already.
func onlyHTTP2() *http.Protocols {
	p := &http.Protocols{}
	p.SetUnencryptedHTTP2(true)
	return p
}

func settings() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams: MaxStreams, SendPingTimeout: pingAfter, PingTimeout: pingTimeout,
		MaxReceiveBufferPerStream: window, MaxReceiveBufferPerConnection: MaxStreams * window,
	}
}
