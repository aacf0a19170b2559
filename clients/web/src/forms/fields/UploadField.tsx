// A field that names an upload: a file of this computer, which is sent at once, or the name of one that was sent before.
import { Button, FileInput, Group, Progress, Stack, Text } from "@mantine/core";
import { IconUpload } from "@tabler/icons-react";
import { useRef, useState } from "react";
import { problemOf } from "../../ui/problem";
import { useField } from "../context";
import { upload } from "../upload";
import type { FieldProps } from "./FieldView";
import { TextField } from "./TextField";

export function UploadField({ spec, path }: FieldProps) {
  const { change, id } = useField<string>(path);
  const [percent, setPercent] = useState<number>();
  const [failed, setFailed] = useState("");
  const abort = useRef<AbortController>(undefined);

  const send = async (file: File | null) => {
    abort.current?.abort();
    setFailed("");
    if (!file) return;
    const stop = new AbortController();
    abort.current = stop;
    setPercent(0);
    try {
      change((await upload(file, setPercent, stop.signal)).name);
    } catch (error) {
      if (!stop.signal.aborted) setFailed(problemOf(error).message);
    } finally {
      if (abort.current === stop) setPercent(undefined);
    }
  };

  return (
    <Stack gap="xs">
      <FileInput
        id={`${id}-file`}
        label="File"
        description="A file of this computer; it is sent at once, and named below when it is there."
        placeholder="Choose a file"
        leftSection={<IconUpload size={16} aria-hidden />}
        error={failed || undefined}
        clearable
        clearButtonProps={{ "aria-label": "Clear the file" }}
        onChange={(file) => void send(file)}
      />
      {percent !== undefined && (
        <Group gap="sm" wrap="nowrap">
          <Progress value={percent} flex={1} aria-label="Progress of the upload" />
          <Text size="xs" miw={40} ta="right">
            {Math.floor(percent)} %
          </Text>
          <Button size="compact-xs" variant="default" onClick={() => abort.current?.abort()}>
            Stop
          </Button>
        </Group>
      )}
      <TextField spec={spec} path={path} />
    </Stack>
  );
}
