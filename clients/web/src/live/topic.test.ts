// Frames become what is shown: snapshots as a whole, changes one by one, and nothing twice.
import { describe, expect, it } from "vitest";
import { FrameKind } from "../api/virtyard/api/type/v1/watch_pb";
import { Topic } from "./topic";

const { SNAPSHOT, BOOKMARK, CHANGED, REMOVED, GAP, KEEPALIVE } = FrameKind;

function topic() {
  return new Topic<string, string>((items) => [...items].map(([name, item]) => `${name}=${item}`).join(" "), "");
}

describe("a topic", () => {
  it("shows a snapshot only when it is complete", () => {
    const watched = topic();
    expect(watched.apply({ kind: SNAPSHOT, name: "a", item: "1" })).toBe(false);
    expect(watched.read()).toMatchObject({ value: "", ready: false });
    expect(watched.apply({ kind: BOOKMARK, name: "", item: undefined })).toBe(true);
    expect(watched.read()).toMatchObject({ value: "a=1", ready: true });
  });

  it("follows changes and removals, and hands out the same answer until there is another", () => {
    const watched = topic();
    watched.apply({ kind: BOOKMARK, name: "", item: undefined });
    watched.apply({ kind: CHANGED, name: "a", item: "1" });
    watched.apply({ kind: CHANGED, name: "b", item: "1" });
    watched.apply({ kind: CHANGED, name: "a", item: "2" });
    const before = watched.read();
    expect(before.value).toBe("a=2 b=1");
    expect(watched.apply({ kind: KEEPALIVE, name: "", item: undefined })).toBe(false);
    expect(watched.apply({ kind: REMOVED, name: "never there", item: undefined })).toBe(false);
    expect(watched.read()).toBe(before);
    watched.apply({ kind: REMOVED, name: "a", item: undefined });
    expect(watched.read().value).toBe("b=1");
  });

  it("keeps what it shows through a gap until the next snapshot is complete, and then drops what is gone", () => {
    const watched = topic();
    watched.apply({ kind: SNAPSHOT, name: "gone", item: "1" });
    watched.apply({ kind: BOOKMARK, name: "", item: undefined });
    watched.apply({ kind: GAP, name: "", item: undefined });
    watched.apply({ kind: SNAPSHOT, name: "new", item: "1" });
    expect(watched.read().value).toBe("gone=1");
    watched.apply({ kind: BOOKMARK, name: "", item: undefined });
    expect(watched.read().value).toBe("new=1");
  });

  it("does not lose a change that comes inside a snapshot", () => {
    const watched = topic();
    watched.apply({ kind: SNAPSHOT, name: "a", item: "1" });
    watched.apply({ kind: SNAPSHOT, name: "b", item: "1" });
    watched.apply({ kind: CHANGED, name: "a", item: "2" });
    watched.apply({ kind: REMOVED, name: "b", item: undefined });
    watched.apply({ kind: BOOKMARK, name: "", item: undefined });
    expect(watched.read().value).toBe("a=2");
  });
});
