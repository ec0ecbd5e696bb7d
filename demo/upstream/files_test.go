// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// inFolder runs a test in a working directory of its own that holds the given files.
func inFolder(t *testing.T, files map[string]string) {
	t.Helper()
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chdir(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chdir(before) })
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func fileText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// handClock is a clock whose timers fire only when a test says so.
type handClock struct {
	time  time.Time
	waits []time.Duration
	acts  []func()
}

func (c *handClock) clock() clock {
	return clock{
		now: func() time.Time { return c.time },
		after: func(wait time.Duration, act func()) {
			c.waits = append(c.waits, wait)
			c.acts = append(c.acts, act)
		},
	}
}

var (
	texts    = profiles["acheong08_2023_07"]
	objects  = profiles["acheong08_2023_08"]
	accounts = profiles["xqdoo00o_2025_02"]
)

const (
	oneToken  = `[{"token":"one","puid":""}]`
	twoTokens = `[{"token":"one","puid":""},{"token":"two","puid":""}]`
)

func TestAnAbsentTokenFileIsCreatedEmpty(t *testing.T) {
	inFolder(t, nil)
	openObjectList(week, systemClock)
	if got := fileText(t, tokenFile); got != "[]" {
		t.Fatalf("the file holds %q", got)
	}
}

func TestATokenFileOfAnotherFormIsWiped(t *testing.T) {
	for _, text := range []string{"no JSON", `["one"]`, `{"account":{"token":"one"}}`, ""} {
		inFolder(t, map[string]string{tokenFile: text})
		store := openObjectList(week, systemClock)
		if got := fileText(t, tokenFile); got != "[]" || store.next().Token != "" {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestAWrongTokenFileIsKeptWhenAnAccountsFileExists(t *testing.T) {
	inFolder(t, map[string]string{tokenFile: "no JSON", accountFile: "a@example.org:pw\n"})
	openObjectList(week, systemClock)
	if got := fileText(t, tokenFile); got != "no JSON" {
		t.Fatalf("the file holds %q", got)
	}
}

func TestATokenFileOlderThanAWeekIsWipedAtStart(t *testing.T) {
	for age, want := range map[time.Duration]string{week + time.Second: "[]", week - time.Minute: oneToken} {
		inFolder(t, map[string]string{tokenFile: oneToken})
		hand := &handClock{time: time.Now().Add(age)}
		openObjectList(week, hand.clock())
		if got := fileText(t, tokenFile); got != want {
			t.Errorf("at the age of %s the file holds %q", age, got)
		}
	}
}

func TestTheTimerOfTheStartWipesTokensPatchedMeanwhile(t *testing.T) {
	inFolder(t, map[string]string{tokenFile: oneToken})
	hand := &handClock{time: time.Now().Add(5 * 24 * time.Hour)}
	store := openObjectList(week, hand.clock())
	if len(hand.waits) != 1 || hand.waits[0] < 47*time.Hour || hand.waits[0] > 49*time.Hour {
		t.Fatalf("the timers are set to %s", hand.waits)
	}
	store.replace([]secret{{Token: "new"}})
	if store.next().Token != "new" || len(hand.waits) != 1 {
		t.Fatal("a patch did not take the token, or it moved the timer")
	}
	hand.acts[0]()
	if got := fileText(t, tokenFile); got != "[]" || store.next().Token != "" {
		t.Fatalf("after the timer the file holds %q", got)
	}
	if len(hand.waits) != 2 || hand.waits[1] != week {
		t.Fatalf("the next timer is not a week ahead: %s", hand.waits)
	}
}

func TestTokensPatchedIntoAnUnwritableFileAreGone(t *testing.T) {
	inFolder(t, map[string]string{tokenFile: oneToken})
	store := openObjectList(week, systemClock)
	os.Remove(tokenFile)
	os.Mkdir(tokenFile, 0o700) // root writes read-only files, but nobody writes a folder
	store.replace([]secret{{Token: "new"}})
	if got := store.next().Token; got != "" {
		t.Fatalf("token %q is in use", got)
	}
}

func TestTokensTakeTurnsInStrictOrder(t *testing.T) {
	inFolder(t, map[string]string{tokenFile: twoTokens})
	store := openObjectList(week, systemClock)
	for _, want := range []string{"one", "two", "one", "two"} {
		if got := store.next().Token; got != want {
			t.Fatalf("%q came instead of %q", got, want)
		}
	}
}

func TestALineWithoutColonInTheAccountsFilePanics(t *testing.T) {
	for text, want := range map[string]bool{"a@b:c\n\n": true, "a@b\n": true, "a@b:c\n": false, "": false} {
		inFolder(t, map[string]string{accountFile: text})
		func() {
			defer func() {
				if got := recover() != nil; got != want {
					t.Errorf("%q: panic is %v", text, got)
				}
			}()
			openObjectList(week, systemClock)
		}()
	}
}

func TestAProxyLineWithoutKnownSchemeMeansADirectConnection(t *testing.T) {
	for line, proxied := range map[string]bool{
		"http://127.0.0.1:3128": true, "https://127.0.0.1:3128": true, "socks5://user:pw@127.0.0.1:1080": true,
		"127.0.0.1:3128": false, "proxy.example.org:3128": false, "socks5h://127.0.0.1:1080": false, " http://a:1": false,
	} {
		if got := proxyAddress(line) != nil; got != proxied {
			t.Errorf("%q: proxied is %v", line, got)
		}
	}
}

func TestTheProxyFileGoesBeforeTheEnvironment(t *testing.T) {
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	inFolder(t, map[string]string{proxyFile: "no colon\nhttp://127.0.0.1:2\nhttp://127.0.0.1:3\n"})
	if got := strings.Join(readProxies(objects).proxies, " "); got != "http://127.0.0.1:2 http://127.0.0.1:3" {
		t.Fatalf("the proxies are %q", got)
	}
	inFolder(t, nil)
	if got := strings.Join(readProxies(objects).proxies, " "); got != "http://127.0.0.1:1" {
		t.Fatalf("the proxies are %q", got)
	}
}

func TestTheKeyFileIsReadOnceAtTheFirstRequest(t *testing.T) {
	inFolder(t, nil)
	ring := &keyRing{}
	os.WriteFile(keyFile, []byte("first\n"), 0o600)
	if ring.refuse(httptest.NewRecorder(), "Bearer first") {
		t.Fatal("a file written before the first request does not count")
	}
	os.WriteFile(keyFile, []byte("second\n"), 0o600)
	if ring.refuse(httptest.NewRecorder(), "Bearer first") || !ring.refuse(httptest.NewRecorder(), "Bearer second") {
		t.Fatal("the file was read again")
	}
}

func TestOnlyKeysAndAccessTokensPassTheKeyCheck(t *testing.T) {
	inFolder(t, map[string]string{keyFile: "first\nsecond\n"})
	ring := &keyRing{}
	for authorization, passes := range map[string]bool{
		"Bearer first": true, "Bearer second": true, "Bearer " + tokenPrefix + "x.y.z": true,
		"": false, "first": false, "Bearer FIRST": false, "Bearer sk-1": false, tokenPrefix + "x": false, "Bearer ": false,
	} {
		answer := httptest.NewRecorder()
		if got := !ring.refuse(answer, authorization); got != passes {
			t.Errorf("%q: passes is %v", authorization, got)
		}
		if !passes && (answer.Code != http.StatusUnauthorized || !strings.HasPrefix(answer.Body.String(), `{"error":"`)) {
			t.Errorf("%q is refused with %d %s", authorization, answer.Code, answer.Body)
		}
	}
}

func TestDotenvLinesAreReadAsTheProgramReadsThem(t *testing.T) {
	known := map[string]string{"EARLIER": "x"}
	for line, want := range map[string]string{
		"A=b": "b", " export A = b ": "b", "A='b$EARLIER#c' # d": "b$EARLIER#c", `A="b c"`: "b c",
		"A=b #c": "b", "A=b#c": "b#c", "A=b$EARLIER": "bx", "A=b$HOME": "b", "A=": "",
	} {
		if name, value, ok := parseDotenvLine(line, known); !ok || name != "A" || value != want {
			t.Errorf("%q is %q=%q", line, name, value)
		}
	}
	for _, line := range []string{"", "# A=b", "A"} {
		if _, _, ok := parseDotenvLine(line, known); ok {
			t.Errorf("%q counts as a setting", line)
		}
	}
}

func TestDotenvDoesNotOverrideTheEnvironment(t *testing.T) {
	t.Setenv("STANDIN_SET", "environment")
	t.Setenv("STANDIN_NEW", "")
	os.Unsetenv("STANDIN_NEW")
	inFolder(t, map[string]string{".env": "STANDIN_SET=file\nSTANDIN_NEW=file\n"})
	loadDotenv(".env")
	if set, added := os.Getenv("STANDIN_SET"), os.Getenv("STANDIN_NEW"); set != "environment" || added != "file" {
		t.Fatalf("the variables are %q and %q", set, added)
	}
}
