// A client of kv with the standard library alone: put, get, compare-and-set, and a subscription that resumes.
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"time"
)

type message struct { // A reply, an event, a record or an error: each has some of these members.
	Code, Message, Event, Action, Key, Epoch string
	Seq, Version                             int
	Retry                                    bool
	Value                                    json.RawMessage
	Record, Error                            *message
}

func send(request map[string]any) func() message {
	// Sends a request to the daemon, which `kv socket` finds or starts. The returned function receives the reply, then events.
	path, _ := exec.Command("sh", "-c", `printf %s "${KV_SOCKET:-$(kv socket)}"`).Output()
	kv, err := net.Dial("unix", string(path))
	if err == nil {
		err = json.NewEncoder(kv).Encode(request)
	}
	messages := json.NewDecoder(kv)
	return func() (m message) {
		if err != nil || messages.Decode(&m) != nil {
			return message{Error: &message{Code: "unavailable", Message: "no daemon answers", Retry: true}}
		}
		return m
	}
}
func increment(key string) message {
	for {
		old, value := send(map[string]any{"op": "get", "key": key})(), 0
		json.Unmarshal(old.Value, &value) // An absent key has no value, and version 0: only if it is still absent.
		reply := send(map[string]any{"op": "put", "key": key, "value": value + 1, "version": old.Version})()
		if reply.Error == nil || reply.Error.Code != "version_mismatch" {
			reply.Value = json.RawMessage(fmt.Sprint(value + 1))
			return reply
		}
	}
}
func follow(prefix, after string) message { // Prints the changes after a seq, from one daemon after the other.
	request := map[string]any{"op": "subscribe", "prefix": prefix, "after": json.RawMessage(cmp.Or(after, `"now"`))}
	var m message
	for m.Error == nil || (request["epoch"] != nil && m.Error.Retry) {
		receive := send(request)
		for m = receive(); m.Error == nil; m = receive() {
			request["epoch"] = cmp.Or(m.Epoch, fmt.Sprint(request["epoch"])) // The reply has it, which comes first.
			if m.Event == "change" || m.Event == "progress" || after == "" {
				request["after"], after = m.Seq, "known"
			}
			if m.Event == "change" {
				fmt.Println(m.Seq, m.Action, m.Record.Key)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return m // It never began, or cannot go on.
}
func main() {
	command, key, word := os.Args[1], os.Args[2], append(os.Args, "")[3]
	reply := map[string]func() message{
		"put":       func() message { return send(map[string]any{"op": "put", "key": key, "value": json.RawMessage(word)})() },
		"get":       func() message { return send(map[string]any{"op": "get", "key": key})() },
		"increment": func() message { return increment(key) },
		"follow":    func() message { return follow(key, word) },
	}[command]()
	if reply.Error != nil {
		log.New(os.Stderr, "kv.go: ", 0).Fatalf("%s (%s)", reply.Error.Message, reply.Error.Code)
	}
	fmt.Println(cmp.Or(string(reply.Value), fmt.Sprint(reply.Version)))
}
