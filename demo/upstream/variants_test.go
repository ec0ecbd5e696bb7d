// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// signIn is what the program's own logins reach; it counts them.
type signIn struct {
	*httptest.Server
	posts, codes int64
}

func startSignIn(t *testing.T, status int, body string) *signIn {
	t.Helper()
	s := &signIn{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		switch {
		case r.Method == http.MethodGet:
			return
		case r.Form.Has("code"):
			atomic.AddInt64(&s.codes, 1)
		default:
			atomic.AddInt64(&s.posts, 1)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	t.Setenv("STANDIN_LOGIN_URL", s.URL)
	startService(t).loginPage = s.URL
	return s
}

func mapOf(names ...string) string {
	tokens := map[string]secret{}
	for _, name := range names {
		tokens[name] = secret{Token: "token.of." + name}
	}
	text, _ := json.Marshal(tokens)
	return string(text)
}

func expiring(at time.Time) string {
	claims := fmt.Sprintf(`{"exp":%d}`, at.Unix())
	return "h." + base64.RawStdEncoding.EncodeToString([]byte(claims)) + ".s"
}

func open(profile profile, clock clock) tokenStore {
	return profile.openTokens(clock, readProxies(profile))
}

func patch(store tokenStore, body string) bool {
	return store.patch(json.NewDecoder(strings.NewReader(body)))
}

// What a wrong or an old token file leads to.

func TestEachVariantWantsItsOwnTokenFile(t *testing.T) {
	for _, row := range []struct {
		profile           profile
		right, created    string
		wrong, afterWrong string
	}{
		{texts, `["one"]`, "", oneToken, oneToken},
		{objects, oneToken, "[]", `["one"]`, "[]"},
		{accounts, mapOf("one"), "{}", oneToken, "{}"},
	} {
		inFolder(t, map[string]string{accountFile: "one:-\n"})
		if row.profile.name == objects.name {
			os.Remove(accountFile) // with one it would try to log in and keep the file
		}
		if open(row.profile, systemClock); fileText(t, tokenFile) != row.created {
			t.Errorf("%s creates %q", row.profile.name, fileText(t, tokenFile))
		}
		os.WriteFile(tokenFile, []byte(row.wrong), 0o600)
		if store := open(row.profile, systemClock); fileText(t, tokenFile) != row.afterWrong || store.next().Token != "" {
			t.Errorf("%s makes %q of another form", row.profile.name, fileText(t, tokenFile))
		}
		os.WriteFile(tokenFile, []byte(row.right), 0o600)
		if store := open(row.profile, systemClock); !strings.HasSuffix(store.next().Token, "one") {
			t.Errorf("%s does not use its own form", row.profile.name)
		}
	}
}

func TestEachVariantTakesPatchesInItsOwnFormOnly(t *testing.T) {
	bodies := map[string]string{texts.name: `["new"]`, objects.name: `[{"token":"new"}]`, accounts.name: `{"one":{"token":"new"}}`}
	for _, profile := range []profile{texts, objects, accounts} {
		inFolder(t, nil)
		store := open(profile, systemClock)
		for name, body := range bodies {
			if got := patch(store, body); got != (name == profile.name) {
				t.Errorf("%s takes %s: %v", profile.name, body, got)
			}
		}
		if text := fileText(t, tokenFile); !strings.Contains(text, "new") {
			t.Errorf("%s: the file holds %q", profile.name, text)
		}
		if empty := map[bool]string{true: "{}", false: "[]"}[profile.name == accounts.name]; !patch(store, empty) || store.next().Token != "" {
			t.Errorf("%s keeps tokens after %s", profile.name, empty)
		}
	}
}

func TestOnlyTheVariantOfAugust2023ForgetsAnOldTokenFile(t *testing.T) {
	for _, row := range []struct {
		profile profile
		file    string
	}{{texts, `["one"]`}, {accounts, `{"one":{"token":"` + expiring(time.Now().Add(90*day)) + `"}}`}} {
		inFolder(t, map[string]string{tokenFile: row.file, accountFile: "one:-\n"})
		os.Chtimes(tokenFile, time.Now().Add(-8*day), time.Now().Add(-8*day))
		if store := open(row.profile, systemClock); store.next().Token == "" {
			t.Errorf("%s forgot its tokens", row.profile.name)
		}
	}
}

func TestATokenFileThatCannotBeWrittenLosesTheTokensOfTheListsOnly(t *testing.T) {
	for _, row := range []struct {
		profile    profile
		file, body string
		left       string
	}{
		{texts, `["one"]`, `["new"]`, ""},
		{objects, oneToken, `[{"token":"new"}]`, ""},
		{accounts, mapOf("one"), `{"one":{"token":"new"}}`, "new"},
	} {
		inFolder(t, map[string]string{tokenFile: row.file, accountFile: "one:-\n"})
		store := open(row.profile, systemClock)
		os.Remove(tokenFile)
		os.Mkdir(tokenFile, 0o700) // root writes read-only files, but nobody writes a folder
		if !patch(store, row.body) || store.next().Token != row.left {
			t.Errorf("%s is left with %q", row.profile.name, store.next().Token)
		}
	}
}

func TestAStringListThatCannotBeWrittenIsLostAtStart(t *testing.T) {
	inFolder(t, map[string]string{tokenFile: `["one"]`})
	var before syscall.Rlimit
	// Permissions do not stop root, a limit does.
	signal.Ignore(syscall.SIGXFSZ)
	syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before)
	syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 0, Max: before.Max})
	store := open(texts, systemClock)
	syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before)
	if got := store.next().Token; got != "" {
		t.Fatalf("token %q is in use", got)
	}
}

func TestTheStringListIsRewrittenAtEveryStart(t *testing.T) {
	inFolder(t, map[string]string{tokenFile: `[  "one" ]`})
	open(texts, systemClock)
	if got := fileText(t, tokenFile); got != `["one"]` {
		t.Fatalf("the file holds %s", got)
	}
}

func TestTokensOfTheEnvironmentOverwriteTheFile(t *testing.T) {
	t.Setenv("ACCESS_TOKENS", "three,four")
	inFolder(t, map[string]string{tokenFile: `["one"]`})
	if got := open(texts, systemClock).next().Token; got != "three" || fileText(t, tokenFile) != `["three","four"]` {
		t.Fatalf("%q is in use", got)
	}
}

func TestAFileThatExistsKeepsItsModeAndANewOneIsOpenToAll(t *testing.T) {
	for _, profile := range []profile{texts, objects, accounts} {
		for before, want := range map[os.FileMode]os.FileMode{0: 0o644, 0o600: 0o600} {
			inFolder(t, nil)
			if before != 0 {
				os.WriteFile(tokenFile, nil, before)
			}
			patch(open(profile, systemClock), map[bool]string{true: "{}", false: "[]"}[profile.name == accounts.name])
			if info, err := os.Stat(tokenFile); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %o became %v", profile.name, before, info.Mode())
			}
		}
	}
}

// The program's own logins.

func TestEveryNamedAccountOfTheMapLogsInOnceADay(t *testing.T) {
	signIn := startSignIn(t, 401, "")
	hand := &handClock{time: time.Now()}
	token := expiring(hand.time.Add(9*day + time.Hour))
	inFolder(t, map[string]string{tokenFile: `{"one":{"token":"` + token + `"}}`, accountFile: "one:-\n"})
	store := open(accounts, hand.clock())
	if len(hand.waits) != 1 || hand.waits[0] < 59*time.Minute || hand.waits[0] > time.Hour+time.Second || signIn.posts != 0 {
		t.Fatalf("timers %s, %d logins", hand.waits, signIn.posts)
	}
	patch(store, `{"one":{"token":"new.token"}}`)
	hand.acts[0]()
	if signIn.posts != 1 || store.next().Token != "" || !strings.Contains(fileText(t, tokenFile), "new.token") {
		t.Fatalf("%d logins, token %q in use", signIn.posts, store.next().Token)
	}
	if len(hand.waits) != 1 {
		t.Fatal("a failed login is tried again")
	}
}

func TestATokenWithoutAnExpiryLogsInADayAfterItsFile(t *testing.T) {
	hand := &handClock{time: time.Now()}
	inFolder(t, map[string]string{tokenFile: mapOf("one"), accountFile: "one:-\n"})
	os.Chtimes(tokenFile, hand.time.Add(-20*time.Hour), hand.time.Add(-20*time.Hour))
	open(accounts, hand.clock())
	if len(hand.waits) != 1 || hand.waits[0].Round(time.Minute) != 4*time.Hour {
		t.Fatalf("timers %s", hand.waits)
	}
}

func TestANamePatchedInHasNoTimerAndIsServed(t *testing.T) {
	signIn := startSignIn(t, 401, "")
	hand := &handClock{time: time.Now()}
	inFolder(t, map[string]string{tokenFile: mapOf("one"), accountFile: "one:-\ntwo:-\n"})
	store := open(accounts, hand.clock())
	if signIn.posts != 1 || len(hand.acts) != 1 || store.next().account != "one" {
		t.Fatalf("%d logins at start, timers %s", signIn.posts, hand.waits)
	}
	patch(store, mapOf("two"))
	hand.acts[0]()
	if got := store.next(); got.account != "two" || got.Token == "" || len(hand.acts) != 1 {
		t.Fatalf("%+v is in use", got)
	}
}

func TestAnAccountWithoutATokenLogsInAtStart(t *testing.T) {
	signIn := startSignIn(t, 200, `{"access_token":"own.token"}`)
	for _, file := range []string{"", "no JSON", "{}", mapOf("two")} {
		inFolder(t, map[string]string{tokenFile: file, accountFile: "\nno colon\none:-:3/2\n"})
		before := signIn.posts
		if got := open(accounts, (&handClock{time: time.Now()}).clock()).next(); got.Token != "own.token" || signIn.posts != before+1 {
			t.Errorf("%q: %+v after %d logins", file, got, signIn.posts-before)
		}
	}
}

func TestALoginThatAsksForACodeNeverStopsAskingAClosedInput(t *testing.T) {
	signIn := startSignIn(t, 202, "")
	inFolder(t, map[string]string{accountFile: "one:-\n"})
	p := startProcess(t, freeAddress(t), "STANDIN_PROFILE="+accounts.name)
	for end := time.Now().Add(patience); atomic.LoadInt64(&signIn.codes) < 50; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("only %d codes were posted", signIn.codes)
		}
	}
	if response, err := http.Get("http://" + p.address + "/ping"); err == nil {
		t.Fatalf("the program answers %d meanwhile", response.StatusCode)
	}
}

func TestTheStringListLogsInOnlyWithAnAccountInItsEnvironment(t *testing.T) {
	for _, account := range []string{"", "a@example.org"} {
		signIn := startSignIn(t, 200, `{"access_token":"x"}`)
		t.Setenv("OPENAI_EMAIL", account)
		t.Setenv("OPENAI_PASSWORD", "pw")
		inFolder(t, nil)
		hand := &handClock{}
		renewEveryWeek(hand.clock(), readProxies(texts))
		if want := int64(len(account) / len("a@example.org")); signIn.posts != want || int64(len(hand.waits)) != want {
			t.Errorf("account %q: %d logins, timers %s", account, signIn.posts, hand.waits)
		}
	}
}

// What is served without an account, and with somebody else's.

func TestATokenOfAnUnnamedAccountIsIgnoredAndAfterAPatchPanics(t *testing.T) {
	backEnd := startBackEnd(t)
	server := startVariant(t, accounts, map[string]string{tokenFile: mapOf("one")})
	if response, _ := ask(t, server, "POST", path, question, ""); response.StatusCode != 200 || backEnd.authorization[0] != "" {
		t.Fatalf("%d with %q", response.StatusCode, backEnd.authorization[0])
	}
	ask(t, server, "PATCH", "/admin/tokens", mapOf("one"), defaultAdminPassword)
	if response, text := ask(t, server, "POST", path, question, ""); response.StatusCode != 500 || text != "" {
		t.Fatalf("%d %q", response.StatusCode, text)
	}
}

func TestWithoutTokensEveryVariantAnswersAnonymously(t *testing.T) {
	for _, profile := range []profile{texts, objects, accounts} {
		backEnd := startBackEnd(t)
		server := startVariant(t, profile, nil)
		if response, _ := ask(t, server, "POST", path, question, ""); response.StatusCode != 200 || backEnd.authorization[0] != "" {
			t.Errorf("%s: %d with %q", profile.name, response.StatusCode, backEnd.authorization[0])
		}
	}
}

func TestTheMapServesATokenLikeStrangerWithTheOperatorsAccount(t *testing.T) {
	backEnd := startBackEnd(t)
	server := startVariant(t, accounts, map[string]string{tokenFile: mapOf("one"), accountFile: "one:-\n", keyFile: "key\n"})
	if response, _ := ask(t, server, "POST", path, question, "Bearer other"); response.StatusCode != 401 {
		t.Fatalf("%d for a wrong key", response.StatusCode)
	}
	response, _ := ask(t, server, "POST", path, question, "Bearer "+tokenPrefix+"theirs")
	if response.StatusCode != 200 || backEnd.authorization[0] != "Bearer token.of.one" {
		t.Fatalf("%d with %q", response.StatusCode, backEnd.authorization)
	}
}

func TestHistoryIsOnByADifferentWord(t *testing.T) {
	for setting, on := range map[string]bool{"": false, "false": false, "true": true} {
		if accounts.historyOn(setting) != on || texts.historyOn(setting) != (setting == "") {
			t.Errorf("ENABLE_HISTORY=%q", setting)
		}
	}
}

func TestRoutesThatOneVariantHasAndAnotherHasNot(t *testing.T) {
	files := map[string]string{tokenFile: mapOf("one"), accountFile: "one:-\n"}
	for route, want := range map[string][2]int{
		"GET /v1/models": {500, 200}, "GET /v1/engines": {500, 404}, "POST /v1/audio/speech": {404, 200},
		"POST /v1/audio/transcriptions": {404, 200}, "PATCH /admin/puid": {200, 404}, "PATCH /admin/openai": {200, 404},
	} {
		method, target, _ := strings.Cut(route, " ")
		for index, profile := range []profile{objects, accounts} {
			server := startVariant(t, profile, map[bool]map[string]string{true: files}[profile.hasAudio])
			if response, _ := ask(t, server, method, target, "{}", defaultAdminPassword); response.StatusCode != want[index] {
				t.Errorf("%s of %s: %d", route, profile.name, response.StatusCode)
			}
		}
	}
	server := startVariant(t, accounts, nil)
	if response, text := ask(t, server, "POST", "/v1/audio/transcriptions", "", ""); response.StatusCode != 500 || !strings.Contains(text, "Logined") {
		t.Errorf("%d %s without an account", response.StatusCode, text)
	}
}

func TestTheDefaultAdminPasswordOpensEveryVariant(t *testing.T) {
	for _, profile := range []profile{texts, objects, accounts} {
		server := startVariant(t, profile, nil)
		if response, _ := ask(t, server, "PATCH", "/admin/password", `{"password":"x"}`, defaultAdminPassword); response.StatusCode != 200 {
			t.Errorf("%s: %d", profile.name, response.StatusCode)
		}
	}
}

// Proxies.

func TestAProxyInTheOtherVariantsFormMeansADirectConnection(t *testing.T) {
	for _, row := range []struct {
		profile    profile
		line, want string
	}{
		{texts, "proxy.example.org:1080", "socks5://proxy.example.org:1080"},
		{texts, "proxy.example.org:1080:user:pw", "socks5://user:pw@proxy.example.org:1080"},
		{texts, "socks5://proxy.example.org:1080", ""},
		{accounts, "socks5://user:pw@proxy.example.org:1080", "socks5://user:pw@proxy.example.org:1080"},
		{accounts, "proxy.example.org:1080", ""},
	} {
		inFolder(t, map[string]string{proxyFile: row.line + "\n"})
		ring, got := readProxies(row.profile), ""
		if address := proxyAddress(strings.Join(ring.proxies, "")); address != nil {
			got = address.String()
		}
		if got != row.want {
			t.Errorf("%s: %q becomes %q", row.profile.name, row.line, got)
		}
	}
}

// Processes.

func TestATokenWithoutADotEndsTheMapWithStatusTwo(t *testing.T) {
	inFolder(t, map[string]string{tokenFile: `{"one":{"token":"opaque"}}`, accountFile: "one:-\n"})
	p := startProcess(t, freeAddress(t), "STANDIN_PROFILE="+accounts.name)
	if status := p.exitStatus(t); status != 2 || !strings.Contains(p.stderr.String(), "index out of range") {
		t.Fatalf("status %d, stderr %q", status, &p.stderr)
	}
}

func TestEveryVariantEndsWithStatusZeroWhenThePortIsTaken(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for name := range profiles {
		inFolder(t, nil)
		p := startProcess(t, server.Listener.Addr().String(), "STANDIN_PROFILE="+name)
		if status := p.exitStatus(t); status != 0 {
			t.Errorf("%s: status %d, stderr %q", name, status, &p.stderr)
		}
	}
}

func TestAProfileThatIsNoneIsRefused(t *testing.T) {
	inFolder(t, nil)
	p := startProcess(t, freeAddress(t), "STANDIN_PROFILE=other")
	if status := p.exitStatus(t); status != 1 || !strings.Contains(p.stderr.String(), `"other"`) {
		t.Fatalf("status %d, stderr %q", status, &p.stderr)
	}
}
