package fetch

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
)

// Page is one page of a list of files, as Resolve reads it: the paths and sizes.
func Page(r io.Reader) (paths []string, sizes []int64, err error) {
	list, err := readPage(r)
	for _, e := range list {
		paths, sizes = append(paths, e.Path), append(sizes, e.bytes())
	}
	return paths, sizes, err
}

// Variants are the models among files: their tags and names.
func Variants(r io.Reader) (tags, names []string) {
	list, _ := readPage(r)
	for _, v := range variants(list) {
		tags, names = append(tags, v.tag), append(names, v.name)
	}
	return tags, names
}

// NextPage is nextPage of one Link header.
func NextPage(first *url.URL, link string) *url.URL { return nextPage(first, first, []string{link}) }

// A Guard decides where requests may go.
type Guard struct{ g *guard }

// GuardOf is the guard of an endpoint.
func GuardOf(endpoint string) Guard {
	u, err := parseEndpoint(endpoint)
	if err != nil {
		panic(err)
	}
	return Guard{&guard{endpoint: u}}
}

// Redirect asks whether a request may be made after n others.
func (g Guard) Redirect(r *http.Request, n int) error {
	return g.g.redirect(r, make([]*http.Request, n))
}

// Dial connects to host:port.
func (g Guard) Dial(ctx context.Context, address string) (net.Conn, error) {
	return g.g.dial(ctx, "tcp", address)
}

// ClientThrough is NewClient with a proxy.
func ClientThrough(endpoint string, proxy *url.URL) *http.Client {
	u, err := parseEndpoint(endpoint)
	if err != nil {
		panic(err)
	}
	return newClient(u, http.ProxyURL(proxy))
}
