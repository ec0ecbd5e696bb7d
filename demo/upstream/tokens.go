// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/json"
	"os"
	"time"
)

const (
	tokenFile   = "access_tokens.json"
	accountFile = "accounts.txt"
	day         = 24 * time.Hour
	week        = 7 * day
)

// secret is what one request goes out with.
type secret struct {
	Token   string `json:"token"`
	PUID    string `json:"puid"`
	TeamUID string `json:"team_uid,omitempty"`
	account string // only the account map knows it
}

// tokenStore holds the tokens in use and mirrors them into the working directory.
type tokenStore interface {
	// next returns the tokens in turn; the zero value when there are none.
	next() secret
	// patch takes the tokens of a request's body into use; it returns false for a body of another form.
	patch(body *json.Decoder) bool
}

// clock is the time source of the token stores, so that tests need not wait seven days.
type clock struct {
	now   func() time.Time
	after func(time.Duration, func())
}

var systemClock = clock{
	now:   time.Now,
	after: func(wait time.Duration, act func()) { time.AfterFunc(wait, act) },
}

func create(path string) {
	file, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	file.Close()
}

// decodeTokenFile reads the first JSON value of the token file into a target.
func decodeTokenFile(target any) error {
	file, err := os.Open(tokenFile)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	return json.NewDecoder(file).Decode(target)
}

// encodeTokenFile overwrites the token file; an existing one keeps its mode.
func encodeTokenFile(tokens any) error {
	file, err := os.OpenFile(tokenFile, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	return json.NewEncoder(file).Encode(tokens)
}
