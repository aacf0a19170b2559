// The catalogue of operation types, read from a descriptor set: what can be asked for, and what the protos say of it.
//
// The set comes from the gateway, so that operation types of other packages, which were not there when the console was
// built, have forms as well. Google's files are not in it; they are taken from the generated code.
import {
  createFileRegistry,
  createRegistry,
  fromBinary,
  getOption,
  hasOption,
  type DescFile,
  type DescMessage,
  type DescMethod,
  type Registry,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema, type FileDescriptorProto, type FileDescriptorSet } from "@bufbuild/protobuf/wkt";
import {
  file_google_protobuf_any,
  file_google_protobuf_descriptor,
  file_google_protobuf_duration,
  file_google_protobuf_empty,
  file_google_protobuf_field_mask,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
} from "@bufbuild/protobuf/wkt";
import { file_google_api_annotations } from "../api/google/api/annotations_pb";
import { file_google_api_client } from "../api/google/api/client_pb";
import { file_google_api_field_behavior } from "../api/google/api/field_behavior_pb";
import { file_google_api_field_info } from "../api/google/api/field_info_pb";
import { file_google_api_http } from "../api/google/api/http_pb";
import { file_google_api_launch_stage } from "../api/google/api/launch_stage_pb";
import { file_google_api_resource, resource } from "../api/google/api/resource_pb";
import { file_google_longrunning_operations } from "../api/google/longrunning/operations_pb";
import { file_google_rpc_code } from "../api/google/rpc/code_pb";
import { file_google_rpc_error_details } from "../api/google/rpc/error_details_pb";
import { file_google_rpc_status } from "../api/google/rpc/status_pb";
import { method_hint, permission, Role } from "../api/virtyard/api/type/v1/annotations_pb";
import { Comments } from "./comments";

const GOOGLE: readonly DescFile[] = [
  file_google_protobuf_any,
  file_google_protobuf_descriptor,
  file_google_protobuf_duration,
  file_google_protobuf_empty,
  file_google_protobuf_field_mask,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
  file_google_api_annotations,
  file_google_api_client,
  file_google_api_field_behavior,
  file_google_api_field_info,
  file_google_api_http,
  file_google_api_launch_stage,
  file_google_api_resource,
  file_google_longrunning_operations,
  file_google_rpc_code,
  file_google_rpc_error_details,
  file_google_rpc_status,
];
const OPERATION = "google.longrunning.Operation";

/** A kind of operation that a person can ask for. */
export interface OperationType {
  /** The rpc that asks for it. */
  method: DescMethod;
  /** As virtyard.api.operations.v1.OperationService.CreateServerPool. */
  fullName: string;
  /** The rpc's own name, as CreateServerPool. */
  name: string;
  /** As people read it in a list of jobs: Create Server Pool. */
  title: string;
  /** What it is about, as server-pool. */
  noun: string;
  /** What it does, as create. */
  verb: string;
  /** Whether to ask again before it is run. */
  destructive: boolean;
  /** The lowest role that may ask for it. */
  role: Role;
  /** What the proto says of it. */
  comment: string;
}

/** A resource type and how its objects are named and listed. */
export interface ResourceType {
  /** As virtyard.io/VirtualMachine. */
  type: string;
  /** The message of its objects. */
  message: DescMessage;
  /** What its names begin with, as virtualMachines/. */
  prefix: string;
  /** The rpc that lists them; none for objects that cannot be listed by one filter. */
  list: DescMethod | undefined;
  /** The rpc that reads one of them. */
  get: DescMethod | undefined;
}

/** Everything that forms are made from. */
export class Catalogue {
  readonly comments = new Comments();
  readonly operations: readonly OperationType[];
  readonly registry: Registry;
  private readonly resources = new Map<string, ResourceType>();
  private readonly byRequest = new Map<string, OperationType>();

  constructor(set: FileDescriptorSet) {
    const files = resolveFiles(set);
    this.registry = createRegistry(...GOOGLE, ...files);
    this.operations = files.flatMap((file) => file.services.flatMap((service) => this.operationsOf(service.methods)));
    for (const operation of this.operations) this.byRequest.set(operation.method.input.typeName, operation);
    for (const message of files.flatMap((file) => file.messages)) {
      if (hasOption(message, resource)) this.addResource(message, files);
    }
  }

  /** Reads a serialised descriptor set. */
  static fromBytes(bytes: Uint8Array): Catalogue {
    return new Catalogue(fromBinary(FileDescriptorSetSchema, bytes));
  }

  /** The operation type by the rpc's own name or by its full name. */
  operation(name: string): OperationType | undefined {
    return (
      this.operations.find((operation) => operation.fullName === name) ??
      this.operations.find((operation) => operation.name === name)
    );
  }

  /** The operation type that a request message asks for. */
  operationOf(request: string): OperationType | undefined {
    return this.byRequest.get(request);
  }

  /** A resource type by its name, as virtyard.io/Server. */
  resource(type: string): ResourceType | undefined {
    return this.resources.get(type);
  }

  /** The resource type of the object of that name, as virtualMachines/web. */
  resourceOf(name: string): ResourceType | undefined {
    const prefix = name.slice(0, name.lastIndexOf("/") + 1);
    return [...this.resources.values()].find((known) => known.prefix === prefix);
  }

  private *operationsIn(methods: readonly DescMethod[]): Iterable<OperationType> {
    for (const method of methods) {
      const hint = getOption(method, method_hint);
      if (method.output.typeName !== OPERATION || !hint.title) continue;
      yield {
        method,
        fullName: `${method.parent.typeName}.${method.name}`,
        name: method.name,
        title: hint.title,
        noun: hint.noun,
        verb: hint.verb,
        destructive: hint.destructive,
        role: getOption(method, permission).role,
        comment: this.comments.of(method),
      };
    }
  }

  private operationsOf(methods: readonly DescMethod[]): OperationType[] {
    return [...this.operationsIn(methods)];
  }

  private addResource(message: DescMessage, files: readonly DescFile[]): void {
    const option = getOption(message, resource);
    const methods = files.flatMap((file) => file.services.flatMap((service) => service.methods));
    this.resources.set(option.type, {
      type: option.type,
      message,
      prefix: option.pattern[0]?.replace(/\{[^}]*\}$/, "") ?? "",
      list: methods.find((method) => lists(method, message)),
      get: methods.find((method) => method.methodKind === "unary" && method.output === message && method.name.startsWith("Get")),
    });
  }
}

/** Whether a method is AIP-132's list of a message: one page of it, by a filter. */
function lists(method: DescMethod, message: DescMessage): boolean {
  if (method.methodKind !== "unary" || !method.name.startsWith("List")) return false;
  const names = new Set(method.input.fields.map((field) => field.name));
  const items = method.output.fields.find((field) => field.fieldKind === "list" && field.message === message);
  return items !== undefined && names.has("filter") && names.has("page_size");
}

function resolveFiles(set: FileDescriptorSet): DescFile[] {
  const google = new Map(GOOGLE.map((file) => [`${file.name}.proto`, file]));
  const protos = new Map(set.file.map((proto) => [proto.name, proto]));
  const known = new Map<string, DescFile>();
  const load = (proto: FileDescriptorProto): void => {
    if (known.has(proto.name) || google.has(proto.name)) return;
    for (const name of proto.dependency) {
      const needed = protos.get(name);
      if (needed) load(needed);
    }
    const registry = createFileRegistry(proto, (name) => known.get(name) ?? google.get(name));
    known.set(proto.name, registry.getFile(proto.name)!);
  };
  set.file.forEach(load);
  return [...known.values()];
}
