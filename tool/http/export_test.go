package http

import (
	"crypto/tls"
	"net/http"
)

// Trust lets the driver talk TLS to a test's server.
func (d *Driver) Trust(c *tls.Config) {
	for _, client := range []*http.Client{d.client, d.once} {
		trusted := c.Clone()
		trusted.NextProtos = []string{"h2", "http/1.1"}
		client.Transport.(*http.Transport).TLSClientConfig = trusted
	}
}
