// Package tunnel lets a program that listens on no port be asked over HTTP: it keeps
// a connection out to a hub, and answers the hub's requests on it. The connection
// begins as a request that is upgraded, which says who calls; then it is HTTP/2, with
// the caller as the server.
package tunnel

import (
	"time"

	"golang.org/x/net/http2"
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
	// upload is how many bytes of bodies a caller may be sent before it has read them,
	// in one request and in all.
	upload = 1 << 20
)

func server() *http2.Server {
	return &http2.Server{
		MaxConcurrentStreams: MaxStreams,
		ReadIdleTimeout:      pingAfter, PingTimeout: pingTimeout,
		MaxUploadBufferPerStream: upload, MaxUploadBufferPerConnection: 4 * upload,
	}
}

func client() *http2.Transport {
	return &http2.Transport{
		ReadIdleTimeout: pingAfter, PingTimeout: pingTimeout,
		DisableCompression: true, StrictMaxConcurrentStreams: true,
	}
}
