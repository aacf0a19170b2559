// The kinds of objects: names of collections, and the typed object behind a name, all from the generated code.
import type { Object$ } from "../api/virtyard/api/inventory/v1/object_pb";

/** Every case of the oneof in `Object`, as `server` or `virtualMachine`. */
export type Kind = NonNullable<Object$["object"]["case"]>;

/** The collection of a kind, as resource names begin: `servers`, `virtualMachines`. */
export type Collection = Plural<Kind>;
type Plural<K extends Kind> = K extends "repository" ? "repositories" : `${K}s`;

/** The kind whose objects are in a collection. */
export type KindOf<C extends Collection> = { [K in Kind]: Plural<K> extends C ? K : never }[Kind];

/** The message of the objects in a collection. */
export type ObjectOf<C extends Collection> = Extract<Object$["object"], { case: KindOf<C> }>["value"];

/** An object of any kind. */
export type AnyObject = ObjectOf<Collection>;

/** The collection that a resource name begins with: `servers` of `servers/s1`. */
export function collectionOf(name: string): Collection {
  return name.slice(0, name.indexOf("/")) as Collection;
}

/** The last part of a resource name: `s1` of `servers/s1`. */
export function idOf(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

/** What people call an object: its display name, or else its id. */
export function titleOf(object: { name: string; displayName?: string }): string {
  return object.displayName || idOf(object.name);
}
