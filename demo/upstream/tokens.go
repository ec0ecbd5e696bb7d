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

const (
	tokenFile   = "access_tokens.json"
	accountFile = "accounts.txt"
)

// secret is one entry of the token file.
type secret struct {
	Token string `json:"token"`
	PUID  string `json:"puid"`
}

// clock is the time source of the token store, so that tests need not wait seven days.
type clock struct {
	now   func() time.Time
	after func(time.Duration, func())
}

var systemClock = clock{
	now:   time.Now,
	after: func(wait time.Duration, act func()) { time.AfterFunc(wait, act) },
}

// tokenStore holds the tokens in use and mirrors them into the working directory.
type tokenStore struct {
	mutex    sync.Mutex
	tokens   []secret
	accounts []string
	maxAge   time.Duration
	clock    clock
}

// openTokenStore reads the working directory as the program does at its start. It panics on a malformed accounts
// file.
func openTokenStore(maxAge time.Duration, clock clock) *tokenStore {
	store := &tokenStore{accounts: readAccounts(), maxAge: maxAge, clock: clock}
	info, err := os.Stat(tokenFile)
	if err != nil {
		create(tokenFile)
		store.renew()
		return store
	}
	left := maxAge - clock.now().Sub(info.ModTime())
	if maxAge > 0 && left <= 0 {
		store.renew()
		return store
	}
	tokens, err := readTokens()
	if err != nil || len(tokens) == 0 {
		store.renew()
		return store
	}
	store.tokens = tokens
	// The timer counts from the file's age at start: a later PATCH does not move it.
	store.schedule(left)
	return store
}

func create(path string) {
	file, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	file.Close()
}

func readTokens() ([]secret, error) {
	file, err := os.Open(tokenFile)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	var tokens []secret
	err = json.NewDecoder(file).Decode(&tokens)
	return tokens, err
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
func (s *tokenStore) renew() {
	if len(s.accounts) > 0 {
		fmt.Fprintln(os.Stderr, "Updating access token for "+s.accounts[0])
		fmt.Fprintln(os.Stderr, "Details: this stand-in cannot log in")
		return
	}
	s.replace([]secret{})
	s.schedule(s.maxAge)
}

func (s *tokenStore) schedule(wait time.Duration) {
	if s.maxAge > 0 {
		s.clock.after(wait, s.renew)
	}
}

// replace takes new tokens into use. When the file cannot be written no token is left, and nobody is told.
func (s *tokenStore) replace(tokens []secret) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.tokens = nil
	file, err := os.OpenFile(tokenFile, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return
	}
	defer file.Close()
	if json.NewEncoder(file).Encode(tokens) == nil {
		s.tokens = append(s.tokens, tokens...)
	}
}

// next returns the tokens in strict turn; the zero value when there are none.
func (s *tokenStore) next() secret {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if len(s.tokens) == 0 {
		return secret{}
	}
	first := s.tokens[0]
	s.tokens = append(s.tokens[1:], first)
	return first
}
