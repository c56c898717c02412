// Package secure decides who may speak to a server: tokens, host names, origins.
package secure

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// Equal compares two secrets in constant time, whatever their lengths.
func Equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// HostAllowed tells whether the Host header of a request, with or without a
// port, is one that a page from elsewhere cannot have made its own by DNS
// rebinding: localhost, an IP literal, or one of the names.
func HostAllowed(host string, names []string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]"), ".")
	if _, err := netip.ParseAddr(name); err == nil || strings.EqualFold(name, "localhost") {
		return true
	}
	for _, n := range names {
		if n != "" && strings.EqualFold(name, n) {
			return true
		}
	}
	return false
}

// OriginAllowed tells whether a request with this Origin header may change
// anything: none at all, or one whose host is the request's own.
func OriginAllowed(origin, host string) bool {
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}
