// What the descriptors say of the kinds of objects: their messages, what people call them, and their states.
import { getOption, type DescEnum, type DescMessage } from "@bufbuild/protobuf";
import { resource } from "../api/google/api/resource_pb";
import { ObjectSchema } from "../api/virtyard/api/inventory/v1/object_pb";
import { collectionOf, type AnyObject, type Collection } from "../live";
import type { Look } from "../ui/looks";

/** A kind of object, as its descriptor has it. */
export interface ObjectKind {
  readonly collection: Collection;
  /** The resource type, as virtyard.io/VirtualMachine. */
  readonly type: string;
  readonly message: DescMessage;
  /** What one is called: "virtual machine". */
  readonly noun: string;
  /** What several are called: "virtual machines". */
  readonly plural: string;
}

const KINDS = new Map<string, ObjectKind>();
for (const field of ObjectSchema.fields) {
  if (field.fieldKind !== "message") continue;
  const described = getOption(field.message, resource);
  const collection = described.pattern[0]!.split("/")[0] as Collection;
  KINDS.set(collection, {
    collection,
    type: described.type,
    message: field.message,
    noun: inWords(described.singular),
    plural: inWords(described.plural),
  });
}

/** The kind of the objects in a collection; undefined if there is no such collection. */
export function kindOf(collection: string): ObjectKind | undefined {
  return KINDS.get(collection);
}

/** All kinds, in the order of the proto. */
export function allKinds(): readonly ObjectKind[] {
  return [...KINDS.values()];
}

/** The words of a name in camel case: "virtual machine" of virtualMachine. */
function inWords(camel: string): string {
  const words = camel.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return words === "vnic" ? "VNIC" : words === "vnics" ? "VNICs" : words;
}

/** A word with a capital: for headings and labels. */
export function capital(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The words of an enum's value without the prefix that all its values have: "waiting for locks". */
export function enumWords(enumeration: DescEnum, number: number): string {
  const value = enumeration.value[number];
  if (!value) return String(number);
  const prefix = enumeration.sharedPrefix?.toUpperCase() ?? "";
  return value.name.slice(prefix.length).toLowerCase().replaceAll("_", " ");
}

const SIGNS: Readonly<Record<string, Pick<Look, "tone" | "sign">>> = {
  running: { tone: "good", sign: "run" },
  online: { tone: "good", sign: "check" },
  active: { tone: "good", sign: "check" },
  ready: { tone: "good", sign: "check" },
  stopped: { tone: "quiet", sign: "stop" },
  offline: { tone: "bad", sign: "cross" },
  starting: { tone: "active", sign: "dot" },
  creating: { tone: "active", sign: "dot" },
  deleting: { tone: "undo", sign: "undo" },
  unspecified: { tone: "quiet", sign: "question" },
};

/** How the state of an object looks. A state that has no sign of its own here still has its word. */
export function stateLook(object: AnyObject): Look {
  const field = kindOf(collectionOf(object.name))?.message.field["state"];
  if (field?.fieldKind !== "enum") return { word: "", tone: "quiet", sign: "dot" };
  const word = enumWords(field.enum, object.state);
  return { word: word === "unspecified" ? "unknown" : word, ...(SIGNS[word] ?? { tone: "quiet", sign: "dot" }) };
}
