// What belongs to an object: the objects that it names, and those that the tree knows to be in it.
import { getOption } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { resource_reference } from "../api/google/api/resource_pb";
import { collectionOf, type AnyObject, type Collection } from "../live";
import { allKinds, type ObjectKind } from "./kinds";

/** Objects of one collection that belong to an object, by the field that says so. */
export interface Relation {
  readonly collection: Collection;
  /** The names that a repeated field of the object lists, or a test of the others' field that refers to it. */
  readonly names?: readonly string[];
  readonly refers?: (other: AnyObject) => boolean;
}

/** Collections that the tree watches in full, so that looking through them asks nobody anything. */
const KNOWN: ReadonlySet<Collection> = new Set<Collection>(["servers", "virtualMachines"]);

/** The relations of an object that are worth a table of their own. */
export function relationsOf(kind: ObjectKind, object: AnyObject): readonly Relation[] {
  const reflected = reflect(kind.message, object);
  const found = new Map<Collection, Relation>();
  for (const other of allKinds()) {
    if (!KNOWN.has(other.collection)) continue;
    const field = other.message.fields.find(
      (each) => each.fieldKind === "scalar" && getOption(each, resource_reference).type === kind.type,
    );
    if (!field) continue;
    found.set(other.collection, {
      collection: other.collection,
      refers: (each) => reflect(other.message, each).get(field) === object.name,
    });
  }
  for (const field of kind.message.fields) {
    if (field.fieldKind !== "list" || field.listKind !== "scalar" || !getOption(field, resource_reference).type) continue;
    const names = [...reflected.get(field)].map(String);
    const first = names[0];
    if (first !== undefined && !found.has(collectionOf(first))) found.set(collectionOf(first), { collection: collectionOf(first), names });
  }
  return [...found.values()];
}
