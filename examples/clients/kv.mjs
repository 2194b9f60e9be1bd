#!/usr/bin/env node
// A client of kv without any package: put, get, compare-and-set, and a subscription that resumes.
import { execFileSync } from "node:child_process";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
class KvError extends Error {
  constructor({ code, message, retry = false }) {
    super(`${message} (${code})`);
    Object.assign(this, { code, retry });
  }
}

/** A connection to the daemon of the store. `kv socket` finds the daemon, or starts it. */
class Kv {
  constructor() {
    const path = process.env.KV_SOCKET || execFileSync("kv", ["socket"], { encoding: "utf8" }).replace(/\n$/, "");
    this.socket = net.createConnection(path).setEncoding("utf8");
    this.messages = this.#read();
  }
  async *#read() {
    let rest = ""; // What has no newline yet; at the end of the connection it was cut off.
    for await (const chunk of this.socket) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop();
      for (const line of lines) yield JSON.parse(line);
    }
    throw new Error("the daemon went away");
  }
  async call(op, fields) {
    this.socket.write(JSON.stringify({ op, ...fields }) + "\n");
    const { value: reply } = await this.messages.next();
    if (!reply.ok) throw new KvError(reply.error);
    return reply;
  }
  async increment(key) {
    for (;;) {
      const { records: [{ value, version } = { value: 0, version: 0 }] } = await this.call("get", { keys: [key] });
      try { // Version 0: only if the key is still absent.
        await this.call("put", { key, value: value + 1, version });
        return value + 1;
      } catch (error) {
        if (error.code !== "version_mismatch") throw error;
      }
    }
  }
}

/** Yields the changes after a seq, each once and in order, from one daemon after the other. */
async function* follow(prefix, after = "now", epoch = undefined) {
  for (;;) {
    try {
      const kv = new Kv();
      const begun = await kv.call("subscribe", { prefix, after, epoch });
      [epoch, after] = [begun.epoch, after === "now" ? begun.seq : after];
      for await (const event of kv.messages) {
        if (event.event === "end") throw new KvError(event.error);
        after = event.seq ?? after;
        if (event.event === "change") yield event;
      }
    } catch (error) { // It never began, or cannot go on.
      if (epoch === undefined || error.retry === false) throw error;
      await sleep(100);
    }
  }
}

const [command, key, word] = process.argv.slice(2);
try {
  if (command === "follow")
    for await (const { seq, action, record } of follow(key, word && Number(word))) console.log(seq, action, record.key);
  const kv = new Kv();
  if (command === "put") console.log((await kv.call("put", { key, value: JSON.parse(word) })).version);
  if (command === "get") console.log(JSON.stringify((await kv.call("get", { key })).value));
  if (command === "increment") console.log(await kv.increment(key));
  kv.socket.destroy();
} catch (error) {
  console.error(`kv.mjs: ${error.message}`);
  process.exit(1);
}
