// What the pages follow: changes of the store, by way of a worker that all windows of the browser share.

import { address } from "./api.js";
import { EventSourceFeed } from "./events_feed.js";

/** @typedef {import("./types").ChangeNotice} ChangeNotice */
/** @typedef {(changed: ChangeNotice[], all: boolean) => void} Listener */

class Events {
  constructor() {
    /** @type {Set<Listener>} */
    this.listeners = new Set();
    /** @type {Set<(on: boolean) => void>} */
    this.watchers = new Set();
    const stated = document.body.dataset.cursor ?? "";
    /** @type {number | null} where the page begins: the server wrote it into the frame before the page asked for anything */
    this.cursor = stated === "" ? null : Number(stated);
    this.isOpen = false;
    this.isLive = false;
    /** @type {EventSourceFeed | null} */
    this.feed = null;
    /** @type {MessagePort | null} */
    this.port = null;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    addEventListener("pageshow", () => this.open());
    addEventListener("pagehide", () => this.close());
  }

  open() {
    if (this.isOpen || document.hidden || !this.listeners.size) return;
    this.isOpen = true;
    const path = new URL(address("/events"), location.href).href;
    // Some browsers of telephones have no such worker; their windows are few.
    if (typeof SharedWorker === "undefined") {
      this.feed ??= new EventSourceFeed((message) => this.take(message));
      this.feed.open(path, this.cursor);
      return;
    }
    if (!this.port) {
      this.port = new SharedWorker(new URL("./events_worker.js", import.meta.url), { type: "module", name: "modeldb-events" }).port;
      this.port.onmessage = ({ data }) => this.take(data);
    }
    this.port.postMessage({ after: this.cursor, address: path });
  }

  close() {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.feed?.close();
    this.port?.postMessage({ bye: true });
    this.say(false);
  }

  /** @param {import("./events_feed.js").FeedMessage} message */
  take(message) {
    if (!this.isOpen) return;
    if ("live" in message) {
      this.say(message.live);
      return;
    }
    if (this.cursor !== null && message.cursor <= this.cursor && !message.all) return;
    this.cursor = Math.max(this.cursor ?? 0, message.cursor);
    for (const listener of this.listeners) listener(message.entities, message.all);
  }

  /** @param {boolean} on */
  say(on) {
    this.isLive = on;
    for (const watcher of this.watchers) watcher(on);
  }
}

const events = new Events();

/**
 * Calls `listener` about once a second with what has changed; `all` says that there was too much to list.
 * @param {Listener} listener @returns {() => void} the end of it
 */
export function follow(listener) {
  events.listeners.add(listener);
  // After the page's own requests: live news must not delay what is there already. What happens meanwhile is not missed.
  setTimeout(() => events.open(), 300);
  return () => {
    events.listeners.delete(listener);
    if (!events.listeners.size) events.close();
  };
}

/** @param {(on: boolean) => void} watcher told whether the page is live */
export function watchConnection(watcher) {
  events.watchers.add(watcher);
  watcher(events.isLive);
  return () => events.watchers.delete(watcher);
}
