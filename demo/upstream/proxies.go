// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	proxyFile    = "proxies.txt"
	idlePerHost  = 256
	replyTimeout = 360 * time.Second
)

// proxyRing hands out proxies in turn, each with a client of its own.
type proxyRing struct {
	mutex       sync.Mutex
	proxies     []string
	clients     map[string]*http.Client
	verifiesTLS bool
}

// readProxies reads the proxy file, or else the one proxy of the environment.
func readProxies(profile profile) *proxyRing {
	ring := &proxyRing{clients: map[string]*http.Client{}, verifiesTLS: profile.verifiesTLS}
	text, _ := os.ReadFile(proxyFile)
	for _, line := range strings.Split(string(text), "\n") {
		if address := profile.proxyAddress(line); address != "" {
			ring.proxies = append(ring.proxies, address)
		}
	}
	if proxy := os.Getenv("http_proxy"); len(ring.proxies) == 0 && proxy != "" {
		ring.proxies = []string{proxy}
	}
	return ring
}

// client returns the client of the proxy whose turn it is.
func (r *proxyRing) client() *http.Client {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	proxy := ""
	if len(r.proxies) > 0 {
		proxy = r.proxies[0]
		r.proxies = append(r.proxies[1:], proxy)
	}
	if r.clients[proxy] == nil {
		r.clients[proxy] = newClient(proxyAddress(proxy), r.verifiesTLS)
	}
	return r.clients[proxy]
}

// urlLine takes a line with a colon for a URL.
func urlLine(line string) string {
	if !strings.Contains(line, ":") {
		return ""
	}
	return line
}

// socksLine reads host:port and host:port:user:password; every other line, a URL too, counts as none.
func socksLine(line string) string {
	fields := strings.Split(line, ":")
	switch len(fields) {
	case 2:
		return "socks5://" + line
	case 4:
		return "socks5://" + fields[2] + ":" + fields[3] + "@" + fields[0] + ":" + fields[1]
	}
	return ""
}

// proxyAddress returns nil, so a direct connection, for a line whose scheme the program does not know,
// socks5h among them: it says nothing about it.
func proxyAddress(line string) *url.URL {
	address, err := url.Parse(line)
	if err != nil || address.Host == "" {
		return nil
	}
	switch address.Scheme {
	case "http", "https", "socks5":
		return address
	}
	return nil
}

func newClient(proxy *url.URL, verifiesTLS bool) *http.Client {
	return &http.Client{
		Timeout: replyTimeout,
		Transport: &http.Transport{
			Proxy:               http.ProxyURL(proxy),
			MaxIdleConnsPerHost: idlePerHost,
			DisableCompression:  true,
			// Two variants do not verify the provider, and operators have to know that.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: !verifiesTLS},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
