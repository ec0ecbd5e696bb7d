// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import "time"

// profile holds what the known variants of the program do differently.
type profile struct {
	name             string
	portFallback     bool          // PORT counts when SERVER_PORT is empty
	maxTokenFileAge  time.Duration // an older token file is emptied; zero: never
	historyOn        func(setting string) bool
	provesKeyByToken bool // a client's access token passes api_keys.txt and is used in place of the operator's
}

var acheong0823 = profile{
	name:             "acheong08_2023_08",
	portFallback:     true,
	maxTokenFileAge:  7 * 24 * time.Hour,
	historyOn:        func(setting string) bool { return setting == "" },
	provesKeyByToken: true,
}
