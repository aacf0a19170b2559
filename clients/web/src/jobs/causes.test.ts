// That the chain beneath an error is its failed jobs with their children and steps, each beneath what it led to.
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { JobSchema } from "../api/virtyard/api/jobs/v1/job_pb";
import { causesOf, causesOfJob, failedObject } from "./causes";

const error = { code: 8, message: "the disk is full" };
const JOBS = [
  create(JobSchema, { name: "jobs/1-1", title: "Create Virtual Machine", object: "virtualMachines/web", error, cause: "jobs/1-2" }),
  create(JobSchema, { name: "jobs/1-2", title: "Create Virtual Disk", object: "virtualDisks/d", parentJob: "jobs/1-1", error, steps: [{ id: "1", title: "Make the image", participant: "servers/s1", error }, { id: "2", title: "Enter it" }] }),
  create(JobSchema, { name: "jobs/1-3", title: "Create Network Card", object: "virtualNetworkCards/n" }),
];

test("a child that failed stands beneath its parent, and its step beneath the child", () => {
  const [cause, ...others] = causesOf(JOBS);
  expect(others).toEqual([]);
  expect(cause).toMatchObject({ title: "jobs/1-1 Create Virtual Machine on", resource: "virtualMachines/web" });
  expect(cause?.causes).toMatchObject([{ title: "jobs/1-2 Create Virtual Disk on", problem: { message: "the disk is full" }, causes: [{ title: "step 1, Make the image, by", resource: "servers/s1" }] }]);
  expect(causesOfJob(JOBS[1]!, JOBS)).toMatchObject([{ resource: "servers/s1", causes: [] }]);
});

test("the object is that of the job that failed by itself", () => {
  expect(failedObject(JOBS)).toBe("virtualDisks/d");
  expect(failedObject([])).toBe("");
});
