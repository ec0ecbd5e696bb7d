// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// login is a line of the accounts file of 2025: name, password, and how many requests in a row the account answers.
type login struct {
	name, password string
	weights        []int
}

// accountMap is the token store of 2025: {"name": {"token": ..., "puid": ..., "team_uid": ...}, ...}. A token alone is
// of no use there: only a name of the accounts file is ever used, and every such name logs in by itself once a day.
type accountMap struct {
	mutex   sync.Mutex
	tokens  map[string]secret
	valid   []string
	logins  []login
	left    int // requests that the first valid account answers before the next one's turn
	clock   clock
	proxies *proxyRing
}

// openAccountMap reads the working directory as the program does at its start, and logs accounts in meanwhile. It
// panics on a token without a dot.
func openAccountMap(clock clock, proxies *proxyRing) *accountMap {
	store := &accountMap{logins: readLogins(), clock: clock, proxies: proxies}
	info, err := os.Stat(tokenFile)
	if err != nil {
		create(tokenFile)
		store.renewAll()
		return store
	}
	if decodeTokenFile(&store.tokens) != nil || len(store.tokens) == 0 {
		store.renewAll()
		return store
	}
	for _, login := range store.logins {
		token := store.tokens[login.name].Token
		left := time.Duration(0)
		if token != "" {
			left = untilLogin(token, clock.now(), info.ModTime())
		}
		if left <= 0 {
			store.renew(login)
			continue
		}
		store.valid = appendOnce(store.valid, login.name)
		store.renewIn(left+time.Second, login)
	}
	return store
}

// untilLogin returns when the program logs the account of a token in: at the time of day at which it expires, or, for a
// token that does not tell, a day after the file was written.
func untilLogin(token string, now, written time.Time) time.Duration {
	var claims struct {
		Expiry int64 `json:"exp"`
	}
	payload, err := base64.RawStdEncoding.DecodeString(strings.Split(token, ".")[1])
	if err == nil && json.Unmarshal(payload, &claims) == nil {
		left := time.Unix(claims.Expiry, 0).Sub(now)
		if left > 0 {
			left %= day
		}
		if left != 0 {
			return left
		}
	}
	return day - now.Sub(written)
}

// readLogins returns the lines of the accounts file; what has no colon is skipped.
func readLogins() []login {
	file, err := os.Open(accountFile)
	if err != nil {
		return nil
	}
	defer file.Close()
	var logins []login
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 2 {
			continue
		}
		entry := login{name: fields[0], password: fields[1]}
		if len(fields) > 2 {
			if weight, err := strconv.Atoi(strings.Split(fields[2], "/")[0]); err == nil && weight > 0 {
				entry.weights = []int{weight}
			}
		}
		if entry.weights == nil {
			entry.weights = []int{1}
		}
		logins = append(logins, entry)
	}
	return logins
}

func (s *accountMap) weights(name string) []int {
	for _, login := range s.logins {
		if login.name == name {
			return login.weights
		}
	}
	return nil
}

func (s *accountMap) renewIn(wait time.Duration, login login) {
	s.clock.after(wait, func() { s.renew(login) })
}

// renew logs one account in. After a failure the account is gone from memory, and nobody tries again.
func (s *accountMap) renew(login login) {
	token, err := logIn(s.proxies, loginPage, login.name, login.password)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err != nil {
		delete(s.tokens, login.name)
		s.valid = without(s.valid, login.name)
		return
	}
	s.tokens[login.name] = secret{Token: token}
	s.valid = appendOnce(s.valid, login.name)
	encodeTokenFile(s.tokens)
	s.renewIn(day+time.Second, login)
}

// renewAll logs all accounts in and forgets everything else.
func (s *accountMap) renewAll() {
	tokens, valid := map[string]secret{}, []string{}
	for _, login := range s.logins {
		if token, err := logIn(s.proxies, loginPage, login.name, login.password); err == nil {
			tokens[login.name] = secret{Token: token}
			valid = appendOnce(valid, login.name)
		}
	}
	s.replace(tokens, valid)
	s.clock.after(day, s.renewAll)
}

// replace takes tokens into use. A file that cannot be written changes nothing, and nobody is told.
func (s *accountMap) replace(tokens map[string]secret, valid []string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.tokens, s.valid = tokens, valid
	encodeTokenFile(tokens)
}

func (s *accountMap) patch(body *json.Decoder) bool {
	var tokens map[string]secret
	if body.Decode(&tokens) != nil {
		return false
	}
	var names []string
	for name := range tokens {
		names = append(names, name)
	}
	s.replace(tokens, names)
	return true
}

// next panics for an account that the accounts file does not name.
func (s *accountMap) next() secret {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if len(s.valid) == 0 {
		return secret{}
	}
	name := s.valid[0]
	if s.left == 0 {
		s.left = s.weights(name)[0]
	}
	if s.left--; s.left == 0 {
		s.valid = append(s.valid[1:], name)
	}
	chosen := s.tokens[name]
	chosen.account = name
	return chosen
}

func appendOnce(names []string, name string) []string {
	return append(without(names, name), name)
}

func without(names []string, name string) []string {
	var rest []string
	for _, other := range names {
		if other != name {
			rest = append(rest, other)
		}
	}
	return rest
}
