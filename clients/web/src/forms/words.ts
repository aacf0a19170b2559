// Words for people, made from the names in the protos: memory_bytes is "Memory", virtyard.io/VirtualDisk "virtual disk".

const SPECIAL: Record<string, string> = {
  cdrom: "CD-ROM",
  cpu: "CPU",
  cpus: "CPUs",
  etag: "etag",
  id: "ID",
  initrd: "initrd",
  io: "I/O",
  ip: "IP",
  mac: "MAC",
  mtu: "MTU",
  sha256: "SHA-256",
  uid: "UID",
  url: "URL",
  uuid: "UUID",
  vlan: "VLAN",
  vnic: "VNIC",
  vnics: "VNICs",
};

/** The words of a name in snake_case, the first with a capital letter. */
export function humanise(name: string): string {
  const words = name.split("_").filter(Boolean).map((word) => SPECIAL[word] ?? word);
  const text = words.join(" ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The noun of a resource type, as "virtual machine" for virtyard.io/VirtualMachine. */
export function nounOf(resourceType: string): string {
  const name = resourceType.slice(resourceType.indexOf("/") + 1);
  return snakeCase(name).split("_").map((word) => SPECIAL[word] ?? word).join(" ");
}

/** A name in CamelCase as snake_case. */
export function snakeCase(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toLowerCase();
}

/** The text with its first letter as a capital one. */
export function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The label of an enum value: its name without what all values of the enum begin with. */
export function valueLabel(name: string, first: string): string {
  const prefix = first.endsWith("_UNSPECIFIED") ? first.slice(0, -"UNSPECIFIED".length) : "";
  const short = name.startsWith(prefix) ? name.slice(prefix.length) : name;
  return humanise(short.toLowerCase());
}

/** The last part of a resource name, as web for virtualMachines/web. */
export function shortName(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

/** The noun with its article, as "an image". */
export function withArticle(noun: string): string {
  return `${/^[aeio]/i.test(noun) ? "an" : "a"} ${noun}`;
}

/** The label inside a sentence: "disk" of "Disk", but "VNIC" as it is. */
export function inSentence(label: string): string {
  return /^[A-Z][A-Z]/.test(label) ? label : label.charAt(0).toLowerCase() + label.slice(1);
}
