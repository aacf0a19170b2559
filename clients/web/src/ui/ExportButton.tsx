// Downloads what a list shows as JSON, one object a line, as the command line exports it.
import { Button } from "@mantine/core";
import type { ReactNode } from "react";
import { saveAs } from "./json-lines";
import { ProblemAlert } from "./ProblemAlert";
import { useCall } from "./use-call";

interface Props {
  /** Reads all that is to be exported. */
  read: () => Promise<Blob>;
  /** The name of the file. */
  file: string;
  icon?: ReactNode;
}

export function ExportButton({ read, file, icon }: Props) {
  const call = useCall();
  return (
    <>
      <Button variant="default" leftSection={icon} loading={call.busy} onClick={() => call.run(read, (blob) => saveAs(blob, file))}>
        Export
      </Button>
      {call.problem && <ProblemAlert title="The export failed" problem={call.problem} onClose={call.clear} />}
    </>
  );
}
