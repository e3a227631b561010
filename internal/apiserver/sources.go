package apiserver

import (
	"net"
	"sync"
)

// maxConnections bounds the connections from one address. Behind one there may be a node
// with all its pods, which have some each.
const maxConnections = 1024

// sources is a listener that closes what one address opens beyond its share.
type sources struct {
	net.Listener
	quota *quota
}

// Accept implements net.Listener.
func (s *sources) Accept() (net.Conn, error) {
	for {
		c, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addressOf(c.RemoteAddr().String())
		if s.quota.take(from) {
			return &sourced{Conn: c, leave: sync.OnceFunc(func() { s.quota.giveBack(from) })}, nil
		}
		_ = c.Close() // nothing was said on it
	}
}

// sourced is a connection that counts until it is closed.
type sourced struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (s *sourced) Close() error {
	s.leave()
	return s.Conn.Close()
}

// addressOf is the host of host:port, which is all that two connections of one have in
// common.
func addressOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport
	}
	return host
}
