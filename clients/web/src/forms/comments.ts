// The comments of a descriptor set: what the protos say of each message, field, enum value and method, by its path.
import type { DescEnumValue, DescField, DescFile, DescMessage, DescMethod, DescOneof } from "@bufbuild/protobuf";

/** Something that can have a comment in a proto file. */
export type Commented = DescMessage | DescField | DescEnumValue | DescMethod | DescOneof;

/** The comments of every file that has them; a file without source info has none. */
export class Comments {
  private readonly byFile = new Map<DescFile, Map<string, string>>();

  /** The comment of a descriptor as one paragraph; empty if it has none. */
  of(desc: Commented): string {
    const file = fileOf(desc);
    let known = this.byFile.get(file);
    if (!known) {
      known = new Map();
      for (const location of file.proto.sourceCodeInfo?.location ?? []) {
        if (location.leadingComments) {
          known.set(location.path.join("."), location.leadingComments.trim().split(/\s+/).join(" "));
        }
      }
      this.byFile.set(file, known);
    }
    return known.get(pathOf(desc).join(".")) ?? "";
  }
}

function fileOf(desc: Commented): DescFile {
  switch (desc.kind) {
    case "message":
      return desc.file;
    case "rpc":
      return desc.parent.file;
    case "enum_value":
      return desc.parent.file;
    case "field":
    case "oneof":
      return desc.parent.file;
  }
}

// The numbers are those of FileDescriptorProto, DescriptorProto and so on, as SourceCodeInfo.Location has them.
function pathOf(desc: Commented): number[] {
  switch (desc.kind) {
    case "message":
      return messagePath(desc);
    case "field":
      return [...messagePath(desc.parent), 2, desc.parent.proto.field.indexOf(desc.proto)];
    case "oneof":
      return [...messagePath(desc.parent), 8, desc.parent.proto.oneofDecl.indexOf(desc.proto)];
    case "rpc": {
      const service = desc.parent;
      return [6, service.file.proto.service.indexOf(service.proto), 2, service.proto.method.indexOf(desc.proto)];
    }
    case "enum_value": {
      const owner = desc.parent;
      const at = owner.parent
        ? [...messagePath(owner.parent), 4, owner.parent.proto.enumType.indexOf(owner.proto)]
        : [5, owner.file.proto.enumType.indexOf(owner.proto)];
      return [...at, 2, owner.proto.value.indexOf(desc.proto)];
    }
  }
}

function messagePath(desc: DescMessage): number[] {
  return desc.parent
    ? [...messagePath(desc.parent), 3, desc.parent.proto.nestedType.indexOf(desc.proto)]
    : [4, desc.file.proto.messageType.indexOf(desc.proto)];
}
