package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rbee/core"
)

const maxRedirects = 10

// NewClient returns the client for a hub and whatever it redirects to: any https
// host, an http one only when the endpoint is http itself, and no address of a
// private network or of this machine unless the endpoint has one itself. The token
// goes to the endpoint alone. Proxies are those of the environment.
func NewClient(endpoint string) (*http.Client, error) {
	u, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	return newClient(u, http.ProxyFromEnvironment), nil
}

func newClient(endpoint *url.URL, proxy func(*http.Request) (*url.URL, error)) *http.Client {
	g := &guard{endpoint: endpoint, proxy: proxy}
	g.within.Store(local(endpoint.Hostname()))
	return &http.Client{
		CheckRedirect: g.redirect,
		Transport: &http.Transport{
			Proxy: g.throughProxy, DialContext: g.dial, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: patience,
			IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 8, DisableCompression: true,
		},
	}
}

// A guard decides where requests may go.
type guard struct {
	endpoint *url.URL
	proxy    func(*http.Request) (*url.URL, error)
	within   atomic.Bool // the endpoint is on a private network, or this machine
	proxies  sync.Map    // host:port of those of the environment
}

// errRedirect is in the tree of faults about where a hub leads.
var errRedirect = errors.New("fetch: redirect refused")

func (g *guard) refuse(format string, args ...any) error {
	return &core.Fault{
		Kind: core.DownloadFailed, What: fmt.Sprintf("%s leads to ", g.endpoint.Host) + fmt.Sprintf(format, args...),
		Try: "if this hub is meant to, set HF_ENDPOINT to where it leads", Cause: errRedirect,
	}
}

// redirect is http.Client's CheckRedirect.
func (g *guard) redirect(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= maxRedirects:
		return g.refuse("%s after %d redirects", r.URL.Host, len(via))
	case r.URL.Scheme != "https" && (r.URL.Scheme != "http" || g.endpoint.Scheme != "http"):
		return g.refuse("%s by %s, want https", r.URL.Host, r.URL.Scheme)
	case local(r.URL.Hostname()) && !g.within.Load():
		return g.refuse("%s, which is on a private network", r.URL.Host)
	}
	if origin(r.URL) != origin(g.endpoint) {
		r.Header.Del("Authorization")
	}
	return nil
}

// throughProxy is http.Transport's Proxy. Proxies may be anywhere: the owner of the
// machine has named them.
func (g *guard) throughProxy(r *http.Request) (*url.URL, error) {
	u, err := g.proxy(r)
	if u != nil {
		g.proxies.Store(authority(u), true)
	}
	return u, err
}

// dial connects, if the address that a name stands for may be used.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	_, proxy := g.proxies.Load(address)
	own := address == authority(g.endpoint)
	d := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	d.Control = func(_, to string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(to)
		switch {
		case err != nil || proxy || !private(at.Addr()):
			return err
		case own:
			g.within.Store(true)
			return nil
		case g.within.Load():
			return nil
		}
		return g.refuse("%s, which is on a private network", address)
	}
	return d.DialContext(ctx, network, address)
}

// local tells whether a host is written as an address of a private network, or is
// this machine.
func local(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	at, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && private(at)
}

var shared = netip.MustParsePrefix("100.64.0.0/10") // carriers' and overlay networks

// private tells whether an address is one that the world does not reach.
func private(at netip.Addr) bool {
	at = at.Unmap().WithZone("")
	return at.IsPrivate() || at.IsLoopback() || at.IsLinkLocalUnicast() || at.IsMulticast() || at.IsUnspecified() ||
		shared.Contains(at) || at.Is4() && at.As4()[0] == 0
}

// origin is scheme, host and port of an address.
func origin(u *url.URL) string { return strings.ToLower(u.Scheme) + "://" + authority(u) }

// authority is host and port of an address, as they are dialled.
func authority(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "http":
		port = "80"
	case strings.HasPrefix(u.Scheme, "socks5"):
		port = "1080"
	default:
		port = "443"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
