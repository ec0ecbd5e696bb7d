// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"net/http"
	"os"
	"strings"
	"sync"
)

const (
	keyFile     = "api_keys.txt"
	tokenPrefix = "eyJhbGciOiJSUzI1NiI"
)

// keyRing checks API keys; the file is read at the first request and never again.
type keyRing struct {
	once sync.Once
	keys map[string]bool
}

func (k *keyRing) load() {
	k.keys = map[string]bool{}
	text, _ := os.ReadFile(keyFile)
	for _, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSuffix(line, "\r"); line != "" {
			k.keys[line] = true
		}
	}
}

// refuse answers a request without a right key and tells whether it did.
func (k *keyRing) refuse(w http.ResponseWriter, authorization string) bool {
	k.once.Do(k.load)
	key, bearer := cutBearer(authorization)
	switch {
	case len(k.keys) == 0 || bearer && k.keys[key]:
		return false
	case bearer && strings.HasPrefix(key, tokenPrefix):
		// Whose token it is nobody asks.
		return false
	case authorization == "":
		answerJSON(w, http.StatusUnauthorized, map[string]any{"error": "An API key is missing."})
	case strings.HasPrefix(key, "sk-"):
		answerJSON(w, http.StatusUnauthorized, map[string]any{"error": "Keys of the official API are of no use here."})
	default:
		answerJSON(w, http.StatusUnauthorized, map[string]any{"error": "The API key is not known."})
	}
	return true
}

func cutBearer(authorization string) (string, bool) {
	if strings.HasPrefix(authorization, "Bearer ") {
		return authorization[len("Bearer "):], true
	}
	return authorization, false
}
