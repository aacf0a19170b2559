// The wait-for graph of locks, laid out in layers: who holds stands left, who waits stands right of whom it waits for.
import { LockMode } from "../api/virtyard/api/type/v1/lock_pb";

/** Somebody in the graph: an operation, a person's lock, or something else that is waited for. */
export interface Party {
  readonly name: string;
  readonly title: string;
  readonly waiting: boolean;
}

/** One waits for the other over an object. */
export interface Wait {
  readonly waiter: string;
  readonly blocker: string;
  readonly object: string;
  /** The mode that the waiter asks for there. */
  readonly wanted: LockMode;
  /** The mode that the blocker holds or asks for there. */
  readonly mode: LockMode;
  /** True if the blocker waits itself, and only goes first. */
  readonly queued: boolean;
}

/** A party with its place: layer 0 waits for nobody. */
export interface Node {
  readonly party: Party;
  readonly layer: number;
  readonly row: number;
}

/** All waits between two parties as one arrow. */
export interface Edge {
  readonly from: Node;
  readonly to: Node;
  readonly waits: readonly Wait[];
}

export interface WaitGraph {
  readonly nodes: readonly Node[];
  readonly edges: readonly Edge[];
  readonly layers: number;
  readonly rows: number;
}

/** What the layout needs of a lock. */
export interface LockLine {
  readonly object: string;
  readonly owner: string;
  readonly mode: LockMode;
  readonly purpose: string;
  readonly waiting: boolean;
  readonly blockers: readonly { readonly object: string; readonly holder: string; readonly purpose: string; readonly mode: LockMode; readonly waiting: boolean }[];
}

/** Who waits for whom, from the locks as they are listed. */
export function waitsOf(locks: readonly LockLine[]): { parties: Party[]; waits: Wait[] } {
  const parties = new Map<string, Party>();
  const waits = new Map<string, Wait>();
  for (const lock of locks) {
    if (!lock.waiting) continue;
    for (const blocker of lock.blockers) {
      // A set is queued as a whole: each of its locks names everybody in the way of any.
      if (blocker.object && blocker.object !== lock.object) continue;
      parties.set(lock.owner, { name: lock.owner, title: lock.purpose, waiting: true });
      if (!parties.get(blocker.holder)?.waiting) parties.set(blocker.holder, { name: blocker.holder, title: blocker.purpose, waiting: blocker.waiting });
      waits.set(`${lock.owner}|${blocker.holder}|${lock.object}`, {
        waiter: lock.owner,
        blocker: blocker.holder,
        object: lock.object,
        wanted: lock.mode,
        mode: blocker.mode,
        queued: blocker.waiting,
      });
    }
  }
  return { parties: [...parties.values()], waits: [...waits.values()] };
}

/** Lay the graph out. Waits of a kind that could go round in a circle do not hang it: each party is placed once. */
export function layOut(parties: readonly Party[], waits: readonly Wait[]): WaitGraph {
  const layers = layersOf(parties, waits);
  const nodes = new Map<string, Node>();
  let rows = 0;
  const deepest = Math.max(-1, ...layers.values());
  for (let layer = 0; layer <= deepest; layer += 1) {
    const here = parties.filter((party) => layers.get(party.name) === layer);
    // Beside those that it waits for, so that arrows cross little.
    const wish = (party: Party): number => {
      const places = waits.flatMap((wait) => (wait.waiter === party.name ? [nodes.get(wait.blocker)?.row ?? 0] : []));
      return places.length === 0 ? 0 : places.reduce((sum, place) => sum + place, 0) / places.length;
    };
    const ordered = here.map((party, index) => ({ party, index, wish: wish(party) })).sort((a, b) => a.wish - b.wish || a.index - b.index);
    ordered.forEach(({ party }, row) => nodes.set(party.name, { party, layer, row }));
    rows = Math.max(rows, here.length);
  }
  return { nodes: [...nodes.values()], edges: edgesOf(nodes, waits), layers: deepest + 1, rows };
}

/** How long the longest chain of waits before each party is. */
function layersOf(parties: readonly Party[], waits: readonly Wait[]): Map<string, number> {
  const blockers = new Map<string, string[]>();
  for (const wait of waits) blockers.set(wait.waiter, [...(blockers.get(wait.waiter) ?? []), wait.blocker]);
  const layers = new Map<string, number>();
  const underWay = new Set<string>();
  const visit = (name: string): number => {
    const known = layers.get(name);
    if (known !== undefined) return known;
    if (underWay.has(name)) return -1;
    underWay.add(name);
    const layer = 1 + Math.max(-1, ...(blockers.get(name) ?? []).map(visit));
    underWay.delete(name);
    layers.set(name, layer);
    return layer;
  };
  for (const party of parties) visit(party.name);
  return layers;
}

function edgesOf(nodes: ReadonlyMap<string, Node>, waits: readonly Wait[]): Edge[] {
  const grouped = new Map<string, { from: Node; to: Node; waits: Wait[] }>();
  for (const wait of waits) {
    const from = nodes.get(wait.waiter);
    const to = nodes.get(wait.blocker);
    if (!from || !to) continue;
    const key = `${wait.waiter}|${wait.blocker}`;
    const edge = grouped.get(key);
    if (edge) edge.waits.push(wait);
    else grouped.set(key, { from, to, waits: [wait] });
  }
  return [...grouped.values()];
}
