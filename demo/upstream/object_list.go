// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// objectList is the token store of August 2023: [{"token": ..., "puid": ...}, ...].
type objectList struct {
	mutex    sync.Mutex
	tokens   []secret
	accounts []string
	maxAge   time.Duration
	clock    clock
}

// openObjectList reads the working directory as the program does at its start. It panics on a malformed accounts
// file.
func openObjectList(maxAge time.Duration, clock clock) *objectList {
	store := &objectList{accounts: readAccounts(), maxAge: maxAge, clock: clock}
	info, err := os.Stat(tokenFile)
	if err != nil {
		create(tokenFile)
		store.renew()
		return store
	}
	left := maxAge - clock.now().Sub(info.ModTime())
	if left <= 0 {
		store.renew()
		return store
	}
	var tokens []secret
	if decodeTokenFile(&tokens) != nil || len(tokens) == 0 {
		store.renew()
		return store
	}
	store.tokens = tokens
	// The timer counts from the file's age at start: a later PATCH does not move it.
	clock.after(left, store.renew)
	return store
}

// readAccounts returns the e-mail addresses of the accounts file.
func readAccounts() []string {
	file, err := os.Open(accountFile)
	if err != nil {
		return nil
	}
	defer file.Close()
	var accounts []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		email, _, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			panic(fmt.Sprintf("%s: line %d has no colon", accountFile, len(accounts)+1))
		}
		accounts = append(accounts, email)
	}
	return accounts
}

// renew stands for the program's own login. With an accounts file it fails, as there is nobody to log in to, and
// leaves everything as it is; without one it ends with no tokens at all.
func (s *objectList) renew() {
	if len(s.accounts) > 0 {
		fmt.Fprintln(os.Stderr, "Updating access token for "+s.accounts[0])
		fmt.Fprintln(os.Stderr, "Details: this stand-in cannot log in")
		return
	}
	s.replace([]secret{})
	s.clock.after(s.maxAge, s.renew)
}

// replace takes new tokens into use. When the file cannot be written no token is left, and nobody is told.
func (s *objectList) replace(tokens []secret) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.tokens = nil
	if encodeTokenFile(tokens) == nil {
		s.tokens = append(s.tokens, tokens...)
	}
}

func (s *objectList) patch(body *json.Decoder) bool {
	var tokens []secret
	if body.Decode(&tokens) != nil {
		return false
	}
	s.replace(tokens)
	return true
}

func (s *objectList) next() secret {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if len(s.tokens) == 0 {
		return secret{}
	}
	first := s.tokens[0]
	s.tokens = append(s.tokens[1:], first)
	return first
}
