// That the graph of waits has who waits to the right of whom it waits for, and hangs on nothing.
import { expect, test } from "vitest";
import { LockMode } from "../api/virtyard/api/type/v1/lock_pb";
import { layOut, waitsOf, type LockLine } from "./wait-graph";

const held = (object: string, owner: string): LockLine => ({ object, owner, mode: LockMode.X, purpose: owner, waiting: false, blockers: [] });
const waiting = (object: string, owner: string, ...blockers: [string, boolean][]): LockLine => ({
  ...held(object, owner),
  waiting: true,
  blockers: blockers.map(([holder, queued]) => ({ object, holder, purpose: holder, mode: LockMode.X, waiting: queued })),
});

function graphOf(locks: LockLine[]) {
  const { parties, waits } = waitsOf(locks);
  const graph = layOut(parties, waits);
  return {
    places: Object.fromEntries(graph.nodes.map((node) => [node.party.name, [node.layer, node.row]])),
    edges: graph.edges.map((edge) => `${edge.from.party.name}>${edge.to.party.name}`).sort(),
    graph,
  };
}

test("a chain of waits goes from left to right, behind the one who holds", () => {
  const { places, edges } = graphOf([held("vm", "a"), waiting("vm", "b", ["a", false]), waiting("vm", "c", ["a", false], ["b", true])]);
  expect(places).toEqual({ a: [0, 0], b: [1, 0], c: [2, 0] });
  expect(edges).toEqual(["b>a", "c>a", "c>b"]);
});

test("who neither waits nor is waited for is not in the picture", () => {
  expect(graphOf([held("vm", "a"), held("disk", "b")]).places).toEqual({});
});

test("a wait over another object of the set is drawn once, over the object where the two meet", () => {
  const meets = { object: "vm", holder: "a", purpose: "a", mode: LockMode.X, waiting: false };
  const { graph } = graphOf([held("vm", "a"), { ...waiting("vm", "b"), blockers: [meets] }, { ...waiting("disk", "b"), blockers: [meets] }]);
  expect(graph.edges.map((edge) => edge.waits.map((wait) => wait.object))).toEqual([["vm"]]);
});

test("waits that go round in a circle are laid out all the same", () => {
  const { places, edges } = graphOf([waiting("vm", "a", ["b", true]), waiting("disk", "b", ["a", true])]);
  expect(Object.keys(places).sort()).toEqual(["a", "b"]);
  expect(edges).toEqual(["a>b", "b>a"]);
});

test("parties of one layer stand beside those that they wait for", () => {
  const { places } = graphOf([held("vm", "a"), held("disk", "b"), waiting("disk", "y", ["b", false]), waiting("vm", "x", ["a", false])]);
  expect(places.x?.[1]).toBe(places.a?.[1]);
  expect(places.y?.[1]).toBe(places.b?.[1]);
});
