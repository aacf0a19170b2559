// A stream read in turns: what waits in it is handled for a few milliseconds, then the page may draw and answer keys.
const TURN_MS = 8;

/** The same items; between two of them the browser gets its turn once a turn's time is used up. */
export async function* inTurns<T>(items: AsyncIterable<T>): AsyncGenerator<T> {
  let until = performance.now() + TURN_MS;
  for await (const item of items) {
    yield item;
    if (performance.now() > until) {
      await nextTurn();
      until = performance.now() + TURN_MS;
    }
  }
}

// A message, not a timer: a hidden tab's timers run once a second.
function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
