// Makes a machine and follows its operation, with the protos loaded at run time: no generated code, no SDK.
// Usage: node make_machine.mjs ADDRESS CREDENTIALS PROTOS GOOGLE_PROTOS REQUEST_JSON
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/package.json`);
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, credentials, protos, googleProtos, request] = process.argv.slice(2);
const definition = loader.loadSync(
  ["virtyard/api/operations/v1/operation_service.proto", "virtyard/api/jobs/v1/job_service.proto"],
  { includeDirs: [protos, googleProtos], longs: String, enums: String, defaults: true },
);
const api = grpc.loadPackageDefinition(definition).virtyard.api;
const pem = (name) => readFileSync(`${credentials}/${name}.pem`);
const tls = grpc.credentials.createSsl(pem("ca"), pem("key"), pem("cert"));
const options = { "grpc.enable_http_proxy": 0 };
const operations = new api.operations.v1.OperationService(address, tls, options);
const jobs = new api.jobs.v1.JobService(address, tls, options);

operations.CreateVirtualMachine(JSON.parse(request), (error, operation) => {
  if (error) {
    console.error(error.message);
    process.exit(1);
  }
  const frames = jobs.WatchOperation({ name: operation.name });
  const titles = new Map();
  frames.on("data", (frame) => {
    if (frame.job) titles.set(frame.job.name, `${frame.job.title}: ${frame.job.state}`);
    if (frame.operation?.done) {
      console.log(JSON.stringify({ name: operation.name, error: frame.operation.error, jobs: [...titles.values()] }));
      process.exit(0);
    }
  });
  frames.on("error", (broken) => {
    console.error(broken.message);
    process.exit(2);
  });
});
