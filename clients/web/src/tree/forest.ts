// The navigation tree as plain values: a forest of nodes made from the objects, and its rows as they are seen.
import type { Network } from "../api/virtyard/api/inventory/v1/network_pb";
import type { Repository } from "../api/virtyard/api/inventory/v1/repository_pb";
import type { Server } from "../api/virtyard/api/inventory/v1/server_pb";
import type { ServerPool } from "../api/virtyard/api/inventory/v1/server_pool_pb";
import type { VirtualMachine } from "../api/virtyard/api/inventory/v1/virtual_machine_pb";
import { titleOf, type AnyObject, type Collection } from "../live";

/** What the tree is made from; each list is in the order in which it is to be shown. */
export interface Site {
  readonly serverPools: readonly ServerPool[];
  readonly servers: readonly Server[];
  readonly virtualMachines: readonly VirtualMachine[];
  readonly repositories: readonly Repository[];
  readonly networks: readonly Network[];
}

export interface TreeNode {
  /** The resource name of an object, or a word of its own for a group. */
  readonly key: string;
  readonly label: string;
  /** Absent for a group. */
  readonly object?: AnyObject;
  /** The collection that a group is of, for its icon and its page. */
  readonly group?: Collection;
  readonly parent: TreeNode | undefined;
  readonly children: TreeNode[];
}

export interface Forest {
  readonly roots: readonly TreeNode[];
  readonly byKey: ReadonlyMap<string, TreeNode>;
}

/** A node as a row on the screen. */
export interface TreeRow {
  readonly node: TreeNode;
  /** Counted from 1. */
  readonly level: number;
  /** Whether what is below it is shown; undefined where there is nothing below. */
  readonly open: boolean | undefined;
  /** Its place among its siblings, counted from 1, and how many those are. */
  readonly position: number;
  readonly siblings: number;
}

/** Pools > servers > the machines that run there; machines at rest below their pool; repositories; networks. */
export function buildForest(site: Site): Forest {
  const byKey = new Map<string, TreeNode>();
  const roots: TreeNode[] = [];
  const add = (node: Omit<TreeNode, "children">): TreeNode => {
    const whole: TreeNode = { ...node, children: [] };
    byKey.set(whole.key, whole);
    (whole.parent?.children ?? roots).push(whole);
    return whole;
  };
  const addObject = (object: AnyObject, parent: TreeNode) =>
    add({ key: object.name, label: titleOf(object), object, parent });

  const pools = add({ key: "pools", label: "Server pools", group: "serverPools", parent: undefined });
  for (const pool of site.serverPools) addObject(pool, pools);
  const homeless = site.servers.filter((server) => !byKey.has(server.serverPool));
  for (const server of site.servers) {
    const pool = byKey.get(server.serverPool);
    if (pool) addObject(server, pool);
  }
  if (homeless.length > 0) {
    const group = add({ key: "homeless", label: "Servers without a pool", group: "servers", parent: undefined });
    for (const server of homeless) addObject(server, group);
  }
  for (const machine of site.virtualMachines) {
    const server = byKey.get(machine.server);
    const home = server ?? restOf(byKey.get(machine.serverPool) ?? pools);
    addObject(machine, home);
  }
  const repositories = add({ key: "repositories", label: "Repositories", group: "repositories", parent: undefined });
  for (const repository of site.repositories) addObject(repository, repositories);
  const networks = add({ key: "networks", label: "Networks", group: "networks", parent: undefined });
  for (const network of site.networks) addObject(network, networks);
  return { roots, byKey };

  function restOf(pool: TreeNode): TreeNode {
    const key = `rest of ${pool.key}`;
    return byKey.get(key) ?? add({ key, label: "Not running", group: "virtualMachines", parent: pool });
  }
}

// A node with more below it than this is closed at first.
const OPEN_AT_FIRST = 60;

/** Whether a node is open: as the reader left it, else unless there is too much below it. */
export function isOpen(node: TreeNode, chosen: ReadonlyMap<string, boolean>): boolean {
  return chosen.get(node.key) ?? node.children.length <= OPEN_AT_FIRST;
}

/** The rows that are seen; with words to search for, the nodes that have them, and the way to each. */
export function visibleRows(forest: Forest, chosen: ReadonlyMap<string, boolean>, search = ""): TreeRow[] {
  const rows: TreeRow[] = [];
  const wanted = search ? matching(forest, search) : undefined;
  const walk = (nodes: readonly TreeNode[], level: number) => {
    const shown = wanted ? nodes.filter((node) => wanted.has(node)) : nodes;
    shown.forEach((node, index) => {
      const below = node.children.length > 0;
      const open = below ? (wanted ? true : isOpen(node, chosen)) : undefined;
      rows.push({ node, level, open, position: index + 1, siblings: shown.length });
      if (open) walk(node.children, level + 1);
    });
  };
  walk(forest.roots, 1);
  return rows;
}

function matching(forest: Forest, search: string): ReadonlySet<TreeNode> {
  const words = search.toLowerCase();
  const found = new Set<TreeNode>();
  for (const node of forest.byKey.values()) {
    if (!node.object) continue;
    if (!node.label.toLowerCase().includes(words) && !node.key.toLowerCase().includes(words)) continue;
    for (let each: TreeNode | undefined = node; each && !found.has(each); each = each.parent) found.add(each);
  }
  return found;
}

/** The keys of everything above a node. */
export function ancestorsOf(node: TreeNode): string[] {
  const keys: string[] = [];
  for (let each = node.parent; each; each = each.parent) keys.push(each.key);
  return keys;
}
