// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

// profile holds what the known variants of the program do differently.
type profile struct {
	name            string
	portFallback    bool // PORT counts when SERVER_PORT is empty
	historyOn       func(setting string) bool
	usesClientToken bool // a client's access token is used in place of the operator's
	verifiesTLS     bool
	hasAudio        bool
	asksService     bool // chatgpt.com is asked before each chat, and where a login begins
	adminRoutes     []string
	models          []string // the fixed list of models; nil: the official API is asked for it
	openTokens      func(clock clock, proxies *proxyRing) tokenStore
	startReading    func() reading
	proxyAddress    func(line string) string // the URL of a line of the proxy file; empty: a direct connection
}

var profiles = map[string]profile{
	"acheong08_2023_07": {
		name:            "acheong08_2023_07",
		portFallback:    true,
		historyOn:       func(setting string) bool { return setting == "" },
		usesClientToken: true,
		adminRoutes:     []string{"tokens", "password", "puid", "openai"},
		openTokens:      func(clock clock, proxies *proxyRing) tokenStore { return openStringList(clock, proxies) },
		startReading:    func() reading { return everyMessage{} },
		proxyAddress:    socksLine,
	},
	"acheong08_2023_08": {
		name:            "acheong08_2023_08",
		portFallback:    true,
		historyOn:       func(setting string) bool { return setting == "" },
		usesClientToken: true,
		adminRoutes:     []string{"tokens", "password", "puid", "openai"},
		openTokens:      func(clock clock, _ *proxyRing) tokenStore { return openObjectList(week, clock) },
		startReading:    func() reading { return everyMessage{} },
		proxyAddress:    urlLine,
	},
	"xqdoo00o_2025_02": {
		name:         "xqdoo00o_2025_02",
		historyOn:    func(setting string) bool { return setting == "true" },
		verifiesTLS:  true,
		hasAudio:     true,
		asksService:  true,
		adminRoutes:  []string{"tokens", "password"},
		models:       []string{"gpt-3.5-turbo", "gpt-4", "gpt-4o", "gpt-4o-mini", "o1", "o1-mini"},
		openTokens:   func(clock clock, proxies *proxyRing) tokenStore { return openAccountMap(clock, proxies) },
		startReading: func() reading { return &oneMessage{} },
		proxyAddress: urlLine,
	},
}
