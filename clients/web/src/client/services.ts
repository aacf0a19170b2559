// The clients that the screens of jobs, events and locks call, each made once.
import { Operations } from "../api/google/longrunning/operations_pb";
import { InventoryService } from "../api/virtyard/api/inventory/v1/inventory_service_pb";
import { AutomationService } from "../api/virtyard/api/jobs/v1/automation_service_pb";
import { JobService } from "../api/virtyard/api/jobs/v1/job_service_pb";
import { LockControlService } from "../api/virtyard/api/jobs/v1/lock_control_service_pb";
import { clientOf } from "./transport";

export const jobs = clientOf(JobService);
export const longrunning = clientOf(Operations);
export const inventory = clientOf(InventoryService);
export const automation = clientOf(AutomationService);
export const lockControl = clientOf(LockControlService);
