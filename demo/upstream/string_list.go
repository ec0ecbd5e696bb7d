// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
)

// stringList is the token store of July 2023: ["token", ...], and PUID for all of them.
type stringList struct {
	mutex  sync.Mutex
	tokens []string
}

func openStringList(clock clock, proxies *proxyRing) *stringList {
	store := &stringList{}
	go renewEveryWeek(clock, proxies)
	if tokens := os.Getenv("ACCESS_TOKENS"); tokens != "" {
		store.replace(strings.Split(tokens, ","))
	}
	if _, err := os.Stat(tokenFile); err != nil {
		create(tokenFile)
		return store
	}
	var tokens []string
	// A file of another form is left alone, and the program runs without tokens.
	if decodeTokenFile(&tokens) == nil {
		store.replace(tokens)
	}
	return store
}

// renewEveryWeek logs in with the account of the environment, only for a cookie, until that fails.
func renewEveryWeek(clock clock, proxies *proxyRing) {
	email, password := os.Getenv("OPENAI_EMAIL"), os.Getenv("OPENAI_PASSWORD")
	if email == "" || password == "" {
		return
	}
	if _, err := logIn(proxies, fixedLoginAddress, email, password); err == nil {
		clock.after(week, func() { renewEveryWeek(clock, proxies) })
	}
}

// replace takes new tokens into use. When the file cannot be written no token is left, and nobody is told.
func (s *stringList) replace(tokens []string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.tokens = nil
	if encodeTokenFile(tokens) == nil {
		s.tokens = append(s.tokens, tokens...)
	}
}

func (s *stringList) patch(body *json.Decoder) bool {
	var tokens []string
	if body.Decode(&tokens) != nil {
		return false
	}
	s.replace(tokens)
	return true
}

func (s *stringList) next() secret {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if len(s.tokens) == 0 {
		return secret{}
	}
	first := s.tokens[0]
	s.tokens = append(s.tokens[1:], first)
	return secret{Token: first, PUID: os.Getenv("PUID")}
}
