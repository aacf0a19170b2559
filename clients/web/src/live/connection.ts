// The one stream of this tab: asks the gateway for what the store wants, goes on from the last token, and never gives up.
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type Client } from "@connectrpc/connect";
import {
  type GatewayService,
  SourceState as WireState,
  WatchRequestSchema,
  type WatchResponse,
} from "../api/virtyard/api/gateway/v1/gateway_service_pb";
import { inTurns } from "./in-turns";
import type { LiveStore } from "./store";
import type { SourceState } from "./topic";

/** What the connection needs of the world around it. */
export interface Surroundings {
  /** Resolves after so many milliseconds, or sooner when `wake` is aborted. */
  sleep(ms: number, wake: AbortSignal): Promise<void>;
  /** Calls back when the network is there again, the tab is shown or the machine has slept; returns how to stop that. */
  onReturn(callback: () => void): () => void;
  now(): number;
}

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 8_000;
// The gateway sends something every 15 seconds; two of them missing means that nobody is there.
const SILENT_MS = 35_000;
const SILENT_ON_RETURN_MS = 16_000;
// How often the clock is looked at, and how long it must have been unwatched for that to be called sleep.
const LOOK_MS = 1_000;
const SLEPT_MS = 5_000;
// Screens that are opened ask for several sources, one by one.
const SETTLE_MS = 20;

const STATES: Readonly<Record<WireState, SourceState>> = {
  [WireState.UNSPECIFIED]: "connecting",
  [WireState.LIVE]: "live",
  [WireState.NOT_LIVE]: "notLive",
  [WireState.ENDED]: "ended",
  [WireState.REFUSED]: "refused",
};

export class Connection {
  readonly #store: LiveStore;
  readonly #client: Pick<Client<typeof GatewayService>, "watch">;
  readonly #around: Surroundings;
  #token = "";
  #wait = 0;
  #heard = 0;
  // Ends the present call, or the present wait, so that the loop goes on at once.
  #wake = new AbortController();
  #changing = false;

  constructor(store: LiveStore, client: Pick<Client<typeof GatewayService>, "watch">, around: Surroundings) {
    this.#store = store;
    this.#client = client;
    this.#around = around;
  }

  /** Keep the store fed until the signal is aborted. */
  async run(stop: AbortSignal): Promise<void> {
    this.#store.onWanted = () => this.#again();
    const stopListening = this.#around.onReturn(() => this.#returned());
    stop.addEventListener("abort", () => this.#wake.abort(), { once: true });
    try {
      while (!stop.aborted) {
        this.#wake = new AbortController();
        if (this.#changing) await this.#around.sleep(SETTLE_MS, stop);
        this.#changing = false;
        await this.#once(this.#wake);
        if (!stop.aborted && !this.#changing && this.#wait > 0) await this.#around.sleep(this.#wait, this.#wake.signal);
      }
    } finally {
      stopListening();
    }
  }

  async #once(wake: AbortController): Promise<void> {
    const subscriptions = this.#store.wanted().map(({ id, request }) => ({ id, source: request }));
    if (subscriptions.length === 0) {
      await this.#around.sleep(LONGEST_WAIT_MS, wake.signal);
      return;
    }
    const request = create(WatchRequestSchema, { subscriptions, resumeToken: this.#token });
    const watchdog = this.#watch(wake);
    try {
      for await (const response of inTurns(this.#client.watch(request, { signal: wake.signal }))) {
        this.#heard = this.#around.now();
        this.#wait = 0;
        this.#store.setStream(true);
        if (response.frame.case === "goodbye") break;
        this.#take(response);
      }
      this.#lost("the gateway closed the stream", false);
    } catch (error) {
      this.#failed(ConnectError.from(error));
    } finally {
      watchdog.abort();
    }
  }

  #take({ subscription, resumeToken, frame }: WatchResponse): void {
    switch (frame.case) {
      case "status":
        this.#store.setSource(subscription, STATES[frame.value.state], frame.value.error);
        break;
      case "keepalive":
      case "goodbye":
      case undefined:
        break;
      default:
        this.#store.take(subscription, frame);
    }
    // Only now: what was not handled is to come again.
    this.#token = resumeToken || this.#token;
  }

  #failed(error: ConnectError): void {
    if (this.#changing) return;
    if (error.code === Code.Unauthenticated) {
      this.#store.setStream(false, "nobody is signed in here", true);
      this.#wait = LONGEST_WAIT_MS;
      return;
    }
    if (error.code === Code.InvalidArgument) this.#token = "";
    this.#lost(error.code === Code.Canceled ? "nothing was heard for too long" : error.rawMessage, true);
  }

  #lost(problem: string, failed: boolean): void {
    if (this.#changing) return;
    this.#store.setStream(false, problem);
    this.#wait = failed && this.#wait > 0 ? Math.min(this.#wait * 2, LONGEST_WAIT_MS) : FIRST_WAIT_MS;
  }

  // Another set of sources: the present call is ended, and the next goes on from the same token.
  #again(): void {
    this.#changing = true;
    this.#wake.abort();
  }

  // The laptop was opened, the tab is shown, or the network is back: what is silent now is dead, and a wait is over.
  #returned(): void {
    if (this.#wait > 0 || this.#around.now() - this.#heard > SILENT_ON_RETURN_MS) this.#wake.abort();
  }

  // Ends a call on which nothing is heard any more.
  #watch(wake: AbortController): AbortController {
    const over = new AbortController();
    this.#heard = this.#around.now();
    const look = async () => {
      while (!over.signal.aborted) {
        await this.#around.sleep(SILENT_MS / 5, over.signal);
        if (!over.signal.aborted && this.#around.now() - this.#heard > SILENT_MS) wake.abort();
      }
    };
    void look();
    return over;
  }
}

/** The surroundings of a tab in a browser. */
export const browser: Surroundings = {
  sleep: (ms, wake) =>
    new Promise((resolve) => {
      if (wake.aborted) return resolve();
      const end = () => {
        clearTimeout(timer);
        wake.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      wake.addEventListener("abort", end);
    }),
  onReturn(callback) {
    const shown = () => {
      if (!document.hidden) callback();
    };
    document.addEventListener("visibilitychange", shown);
    document.addEventListener("resume", callback);
    window.addEventListener("online", callback);
    // A lid that is closed and opened again tells the page nothing; what is seen is that time has passed.
    let last = Date.now();
    const timer = setInterval(() => {
      const now = Date.now();
      if (now - last > SLEPT_MS) callback();
      last = now;
    }, LOOK_MS);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", shown);
      document.removeEventListener("resume", callback);
      window.removeEventListener("online", callback);
    };
  },
  // Wall time: the monotonic clock of some browsers stands still while the machine sleeps.
  now: () => Date.now(),
};
