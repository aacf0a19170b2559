// One stream for the tab: it goes on from its token through cuts, says when it is not live, and takes up new sources.
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import {
  GatewayService,
  SourceState,
  WatchResponseSchema,
  type WatchRequest,
  type WatchResponse,
} from "../api/virtyard/api/gateway/v1/gateway_service_pb";
import { FrameKind } from "../api/virtyard/api/type/v1/watch_pb";
import { Connection, type Surroundings } from "./connection";
import { jobSummarySource, locksSource, objectsSource } from "./sources";
import { LiveStore } from "./store";

/** A gateway that answers each call as the test says, with the real client on the other side of it. */
class Gateway {
  readonly asked: WatchRequest[] = [];
  readonly answers: ((request: WatchRequest, signal: AbortSignal) => AsyncGenerator<WatchResponse>)[] = [];

  client() {
    const transport = createRouterTransport(({ service }) =>
      service(GatewayService, {
        watch: (request, context) => {
          this.asked.push(request);
          const answer = this.answers.shift() ?? silence;
          return answer(request, context.signal);
        },
      }),
    );
    return createClient(GatewayService, transport);
  }
}

async function* silence(_: WatchRequest, signal: AbortSignal): AsyncGenerator<WatchResponse> {
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
}

const live = (id: string, token: string) =>
  create(WatchResponseSchema, {
    subscription: id,
    resumeToken: token,
    frame: { case: "status", value: { state: SourceState.LIVE } },
  });

const summary = (id: string, token: string, total: bigint, kind = FrameKind.CHANGED) =>
  create(WatchResponseSchema, {
    subscription: id,
    resumeToken: token,
    frame: { case: "jobSummary", value: { kind, summary: { total } } },
  });

let stop = new AbortController();
afterEach(() => stop.abort());

/** Surroundings in which waiting takes no time, and what was waited for is kept. */
function surroundings(): Surroundings & { waits: number[]; returned: () => void } {
  const waits: number[] = [];
  let back = () => {};
  return {
    waits,
    returned: () => back(),
    sleep: (ms, wake) => {
      // The watchdog looks every 7 s; nothing is silent in these tests but where they say so.
      if (ms === 7_000) return new Promise((resolve) => wake.addEventListener("abort", () => resolve()));
      waits.push(ms);
      return new Promise((resolve) => setTimeout(resolve, 0));
    },
    onReturn: (callback) => {
      back = callback;
      return () => {};
    },
    now: () => performance.now(),
  };
}

function start(gateway: Gateway, store: LiveStore, around: Surroundings = surroundings()) {
  stop = new AbortController();
  void new Connection(store, gateway.client(), around).run(stop.signal);
}

const newStore = () => new LiveStore((flush) => setTimeout(flush, 0));
const total = (store: LiveStore) => store.read(jobSummarySource).value?.total;

describe("the connection of a tab", () => {
  it("goes on from the token of the last response that was handled when the stream is cut", async () => {
    const gateway = new Gateway();
    gateway.answers.push(
      async function* ({ subscriptions }) {
        const id = subscriptions[0]!.id;
        yield live(id, "t1");
        yield summary(id, "t2", 1n, FrameKind.SNAPSHOT);
        yield create(WatchResponseSchema, {
          subscription: id,
          resumeToken: "t3",
          frame: { case: "jobSummary", value: { kind: FrameKind.BOOKMARK } },
        });
        throw new ConnectError("cut", Code.Unavailable);
      },
      async function* (request, signal) {
        yield summary(request.subscriptions[0]!.id, "t4", 2n);
        yield* silence(request, signal);
      },
    );
    const store = newStore();
    store.subscribe(jobSummarySource, () => {});
    start(gateway, store);
    await expect.poll(() => total(store)).toBe(2n);
    expect(gateway.asked.map(({ resumeToken }) => resumeToken)).toEqual(["", "t3"]);
    expect(gateway.asked[1]!.subscriptions[0]!.id).toBe(gateway.asked[0]!.subscriptions[0]!.id);
  });

  it("says that it is not live while nobody answers, waits longer each time, and is live again after that", async () => {
    const gateway = new Gateway();
    const refuse = async function* (): AsyncGenerator<WatchResponse> {
      throw new ConnectError("connection refused", Code.Unavailable);
    };
    let seen: string | undefined;
    gateway.answers.push(refuse, refuse, refuse, async function* (request, signal) {
      seen = store.status().problem;
      yield live(request.subscriptions[0]!.id, "t1");
      yield* silence(request, signal);
    });
    const store = newStore();
    const around = surroundings();
    store.subscribe(jobSummarySource, () => {});
    start(gateway, store, around);
    await expect.poll(() => store.status().live).toBe(true);
    expect(seen).toBe("connection refused");
    expect(around.waits.slice(-3)).toEqual([250, 500, 1000]);
  });

  it("asks again with all sources when another one is looked at, and stays live meanwhile", async () => {
    const gateway = new Gateway();
    const answer = async function* (request: WatchRequest, signal: AbortSignal) {
      for (const { id } of request.subscriptions) yield live(id, `t${request.subscriptions.length}`);
      yield* silence(request, signal);
    };
    gateway.answers.push(answer, answer);
    const store = newStore();
    const states: boolean[] = [];
    store.subscribe(jobSummarySource, () => {});
    start(gateway, store);
    await expect.poll(() => store.status().live).toBe(true);
    store.subscribeStatus(() => states.push(store.status().live));
    store.subscribe(locksSource, () => {});
    await expect.poll(() => gateway.asked.length).toBe(2);
    expect(gateway.asked[1]!.subscriptions.map(({ source }) => source.case)).toEqual(["jobSummary", "locks"]);
    expect(gateway.asked[1]!.resumeToken).toBe("t1");
    await expect.poll(() => store.read(locksSource).state).toBe("live");
    expect(states).not.toContain(false);
  });

  it("is not live while one of its sources is not, and names it", async () => {
    const gateway = new Gateway();
    gateway.answers.push(async function* (request, signal) {
      const [first, second] = request.subscriptions;
      yield live(first!.id, "t1");
      yield create(WatchResponseSchema, {
        subscription: second!.id,
        resumeToken: "t2",
        frame: { case: "status", value: { state: SourceState.NOT_LIVE, error: { code: 14, message: "inventory is away" } } },
      });
      yield* silence(request, signal);
    });
    const store = newStore();
    store.subscribe(jobSummarySource, () => {});
    store.subscribe(objectsSource("servers"), () => {});
    start(gateway, store);
    await expect.poll(() => store.status().sources.find(({ state }) => state === "notLive")?.label).toBe("servers");
    expect(store.status().live).toBe(false);
  });

  it("ends a call that has been silent for too long when the tab is shown again", async () => {
    const gateway = new Gateway();
    const answer = async function* (request: WatchRequest, signal: AbortSignal) {
      yield live(request.subscriptions[0]!.id, "t1");
      yield* silence(request, signal);
    };
    gateway.answers.push(answer, answer);
    const store = newStore();
    const around = surroundings();
    let slept = 0;
    around.now = () => performance.now() + slept;
    store.subscribe(jobSummarySource, () => {});
    start(gateway, store, around);
    await expect.poll(() => store.status().live).toBe(true);
    around.returned();
    expect(gateway.asked.length).toBe(1);
    slept = 3_600_000;
    around.returned();
    await expect.poll(() => gateway.asked.length).toBe(2);
    expect(gateway.asked[1]!.resumeToken).toBe("t1");
  });

  it("says that nobody is signed in where the gateway says so", async () => {
    const gateway = new Gateway();
    gateway.answers.push(async function* (): AsyncGenerator<WatchResponse> {
      throw new ConnectError("no session", Code.Unauthenticated);
    });
    const store = newStore();
    store.subscribe(jobSummarySource, () => {});
    start(gateway, store);
    await expect.poll(() => store.status().signedOut).toBe(true);
  });
});
