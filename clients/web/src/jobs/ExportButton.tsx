// Downloads jobs with their events as JSON, one job a line, as `virtyard job export` has them.
import { Button } from "@mantine/core";
import type { ReactNode } from "react";
import { ProblemAlert } from "../ui/ProblemAlert";
import { useCall } from "../ui/use-call";
import { exportJobs, saveAs } from "./export-jobs";

interface Props {
  /** Which jobs, as an AIP-160 filter; empty for all. */
  filter: string;
  /** The name of the file. */
  file: string;
  icon?: ReactNode;
}

export function ExportButton({ filter, file, icon }: Props) {
  const call = useCall();
  return (
    <>
      <Button variant="default" leftSection={icon} loading={call.busy} onClick={() => call.run(() => exportJobs(filter), (blob) => saveAs(blob, file))}>
        Export
      </Button>
      {call.problem && <ProblemAlert title="The export failed" problem={call.problem} onClose={call.clear} />}
    </>
  );
}
