// Follows the changes of the store once for all windows of a browser, which opens only a few connections to a server.
// A window says after which change it goes on; it is told what came since, or that it has to look at everything again.

import { EventSourceFeed } from "./events_feed.js";

/** @type {Map<MessagePort, boolean>} */
const ports = new Map();
const feed = new EventSourceFeed((message) => {
  for (const [port, listening] of ports) if (listening) port.postMessage(message);
});

addEventListener("connect", (event) => {
  const [port] = /** @type {MessageEvent} */ (event).ports;
  port.onmessage = ({ data }) => {
    if (data.bye) ports.delete(port);
    else {
      for (const message of feed.since(data.after)) port.postMessage(message);
      ports.set(port, true);
      feed.open(data.address, data.after);
    }
    if (!ports.size) feed.close();
  };
});
