// That an error is told in full, whichever way it came, and that what to do about it is the API's word.
import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { BadRequestSchema, ErrorInfoSchema, ResourceInfoSchema, RetryInfoSchema } from "../api/google/rpc/error_details_pb";
import { StatusSchema } from "../api/google/rpc/status_pb";
import { ErrorReason, ErrorReasonSchema } from "../api/virtyard/api/type/v1/error_reason_pb";
import { LockInfoSchema } from "../api/virtyard/api/type/v1/lock_pb";
import { problemOf, problemOfStatus, remedyFor } from "./problem";

const info = create(ErrorInfoSchema, { reason: "WRONG_STATE", domain: "virtyard", metadata: { state: "RUNNING" } });
const resource = create(ResourceInfoSchema, { resourceName: "virtualMachines/web" });
const fields = create(BadRequestSchema, { fieldViolations: [{ field: "cpus", description: "must be 1 or more" }] });
const retry = create(RetryInfoSchema, { retryDelay: { seconds: 1n, nanos: 500_000_000 } });
const lock = create(LockInfoSchema, { object: "virtualMachines/web", holder: "operations/12", purpose: "Start Virtual Machine" });

test("the parts of an error are the same by the call and by what is kept of it", () => {
  const details = [
    { desc: ErrorInfoSchema, value: info },
    { desc: ResourceInfoSchema, value: resource },
    { desc: BadRequestSchema, value: fields },
    { desc: RetryInfoSchema, value: retry },
    { desc: LockInfoSchema, value: lock },
  ];
  const thrown = problemOf(new ConnectError("it runs", Code.FailedPrecondition, undefined, details));
  const packed = [anyPack(ErrorInfoSchema, info), anyPack(ResourceInfoSchema, resource), anyPack(BadRequestSchema, fields), anyPack(RetryInfoSchema, retry), anyPack(LockInfoSchema, lock)];
  const kept = problemOfStatus(create(StatusSchema, { code: 9, message: "it runs", details: packed }));
  for (const problem of [thrown, kept]) {
    expect(problem).toMatchObject({ message: "it runs", reason: "WRONG_STATE", code: "FAILED_PRECONDITION", resource: "virtualMachines/web", retrySeconds: 1.5 });
    expect(problem.facts).toEqual([["state", "RUNNING"]]);
    expect(problem.fields).toMatchObject([{ field: "cpus" }]);
    expect(problem.holders).toMatchObject([{ holder: "operations/12", waiting: false }]);
  }
});

test("an error without details is told by its code, as the API's reasons are spelt", () => {
  expect(problemOf(new ConnectError("late", Code.DeadlineExceeded)).reason).toBe("DEADLINE_EXCEEDED");
  expect(problemOf(new TypeError("Failed to fetch")).reason).toBe("UNKNOWN");
});

test("what to do is said for every reason whose message does not say it", () => {
  const silent = ErrorReasonSchema.values.filter(({ name }) => !remedyFor(name.replace("ERROR_REASON_", ""))).map(({ number }) => number);
  expect(silent).toEqual([ErrorReason.UNSPECIFIED, ErrorReason.INVALID_REQUEST, ErrorReason.BLOCKED_BY_EVENT, ErrorReason.CONDITION_STILL_HOLDS]);
  expect(remedyFor("UNAVAILABLE")).toMatchObject({ command: "virtyard status" });
  expect(remedyFor("NO_SUCH_REASON")).toBeUndefined();
});
